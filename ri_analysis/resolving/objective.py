"""The RI objective (Ramesh et al. 2026, arXiv 2603.13467): the expert in its own head, pretrained in all others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch.nn import functional

from ri_analysis.divergences import kl_divergence
from ri_analysis.encoder import Head

Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def cross_entropy(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of the student's outputs with the teacher's first choice, in nats: (k, c) → (k,).

    With the teacher's probabilities instead of its choice, cross-entropy and KL differ by the teacher's entropy alone
    and have one gradient, so only this reading can differ from KL, as the paper's two results do.
    """
    return functional.cross_entropy(student, teacher.argmax(dim=-1), reduction="none")


def squared_error(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """Return the squared difference of logits, mean over classes: (k, c) → (k,)."""
    return (teacher - student).square().mean(dim=-1)


# Logits of teacher and student (k, classes) → the distance of each row (k,). The paper uses KL and reports all three.
DISTANCES: dict[str, Distance] = {"kl": kl_divergence, "cross-entropy": cross_entropy, "mse": squared_error}


def unit(distance: str) -> str:
    """Return the unit of a distance, a name of DISTANCES."""
    return "squared logits" if distance == "mse" else "nats"


class Terms(NamedTuple):
    """The two terms of the objective and their sum: scalars in the distance's unit."""

    keep: torch.Tensor
    free: torch.Tensor
    loss: torch.Tensor


class Objective:
    """L(τ) = E_A[ d(h_t f(x;θ_t), h_t f(x;θ₀+τ)) + α/(N−1) Σ_{j≠t} d(h_j f(x;θ₀), h_j f(x;θ₀+τ)) ], d = KL(· ‖ ·).

    Parameters
    ----------
    heads: the heads of all N experts that will be merged, by task.
    task: t, the expert being adapted.
    alpha: α, the weight of the second term. With one expert there is no other head and that term is 0.
    distance: d, a name of DISTANCES.
    """

    def __init__(
        self,
        heads: Mapping[str, Head],
        task: str,
        alpha: float,
        device: str | torch.device = "cpu",
        distance: str = "kl",
    ) -> None:
        others = [head.weight for name, head in heads.items() if name != task]
        self._own = heads[task].weight.to(device)
        self._others = torch.cat(others).to(device) if others else None
        self._sizes = [len(weight) for weight in others]
        self._alpha, self._distance = alpha, DISTANCES[distance]

    def __call__(self, adapted: torch.Tensor, expert: torch.Tensor, pretrained: torch.Tensor) -> Terms:
        """Return the terms for unit features (batch, embed_dim) of the adapted, the expert and the pretrained model.

        Only `adapted` carries gradients: both teachers are frozen, so their features may be computed once.
        """
        keep = self._distance(expert @ self._own.T, adapted @ self._own.T).mean()
        if self._others is None:
            return Terms(keep, torch.zeros_like(keep), keep)
        # One product for all other heads; the sum over j and the division by N−1 are the mean over heads.
        teacher = torch.split(pretrained @ self._others.T, self._sizes, dim=1)
        student = torch.split(adapted @ self._others.T, self._sizes, dim=1)
        free = torch.stack([self._distance(a, b).mean() for a, b in zip(teacher, student, strict=True)]).mean()
        return Terms(keep, free, keep + self._alpha * free)
