"""The RI objective (Ramesh et al. 2026, arXiv 2603.13467): the expert in its own head, pretrained in all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch

from ri_analysis.encoder import Head
from ri_analysis.statistics import kl_divergence


class Terms(NamedTuple):
    """The two terms of the objective and their sum, scalars in nats."""

    keep: torch.Tensor
    free: torch.Tensor
    loss: torch.Tensor


class Objective:
    """L(τ) = E_A[ KL(h_t f(x;θ_t) ‖ h_t f(x;θ₀+τ)) + α/(N−1) Σ_{j≠t} KL(h_j f(x;θ₀) ‖ h_j f(x;θ₀+τ)) ].

    Parameters
    ----------
    heads: the heads of all N experts that will be merged, by task.
    task: t, the expert being adapted.
    alpha: α, the weight of the second term. With one expert there is no other head and that term is 0.
    """

    def __init__(self, heads: Mapping[str, Head], task: str, alpha: float, device: str | torch.device = "cpu") -> None:
        others = [head.weight for name, head in heads.items() if name != task]
        self._own = heads[task].weight.to(device)
        self._others = torch.cat(others).to(device) if others else None
        self._sizes = [len(weight) for weight in others]
        self._alpha = alpha

    def __call__(self, adapted: torch.Tensor, expert: torch.Tensor, pretrained: torch.Tensor) -> Terms:
        """Return the terms for unit features (batch, embed_dim) of the adapted, the expert and the pretrained model.

        Only `adapted` carries gradients: both teachers are frozen, so their features may be computed once.
        """
        keep = kl_divergence(expert @ self._own.T, adapted @ self._own.T).mean()
        if self._others is None:
            return Terms(keep, torch.zeros_like(keep), keep)
        # One product for all other heads; the sum over j and the division by N−1 are the mean over heads.
        teacher = torch.split(pretrained @ self._others.T, self._sizes, dim=1)
        student = torch.split(adapted @ self._others.T, self._sizes, dim=1)
        free = torch.stack([kl_divergence(a, b).mean() for a, b in zip(teacher, student, strict=True)]).mean()
        return Terms(keep, free, keep + self._alpha * free)
