"""OptMerge: WUDI with the weak singular directions of every task vector taken for noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging import wudi
from ri_analysis.merging.factorisation import Matrix, as_matrix, as_tensor, truncated_svd
from ri_analysis.merging.method import Method, scale
from ri_analysis.task_vectors import Layer
from ri_analysis.threads import one_thread

_MOMENTUM = 0.9


class Loss(NamedTuple):
    """Σ_t ‖(M − τ̂_t)R_t‖²_F for an m×n matrix M: `rights` are the R_t side by side (n, p), `target` Σ τ̂_tR_tR_tᵀ."""

    rights: Matrix
    target: Matrix


def minimise_interference(layer: Layer, *, variant: str, steps: int, learning_rate: float) -> torch.Tensor:
    """Return M after some gradient steps on Σ_t ‖(M − τ̂_t)V_tS_t‖²_F / ‖τ_t‖²_F.

    V_tS_t are the k = max(1, ⌊r/T⌋) leading right singular vectors of τ_t times their singular values. "full": τ̂_t is
    the mean τ̄ plus the rank-k part of τ_t − τ̄, and M goes from Στ by Adam. "lora": τ̂_t is the rank-k part of τ_t, and
    M goes from τ̄ by gradient descent with momentum 0.9. Only the weight matrices of attention and MLP are merged;
    everything else stays pretrained. Experts equal to the pretrained model count in T and τ̄ alone.
    """
    if not wudi.is_linear_weight(layer):
        return torch.zeros_like(layer.pretrained)
    total = as_matrix(layer.sum())
    mean = total / layer.count
    with one_thread:
        loss = _loss(layer, mean if variant == "full" else None)
        start = total if variant == "full" else mean
        gradient = (start @ loss.rights) @ loss.rights.T - loss.target  # half of it, as everywhere here
        if variant == "lora":
            return as_tensor(start + _way_of_momentum(gradient, loss.rights, steps, learning_rate))
    a = as_tensor(loss.rights @ loss.rights.T)
    return as_tensor(start) + wudi.way_of_adam(as_tensor(gradient), a, steps, learning_rate)


def _loss(layer: Layer, mean: Matrix | None) -> Loss:
    """Return the loss of τ̂_t around `mean`, or of the rank-k parts of the τ_t themselves."""
    rank = max(1, min(layer.pretrained.shape) // layer.count)
    rights, target = [], np.zeros(tuple(layer.pretrained.shape))
    for delta in map(as_matrix, layer.each()):
        if norm := float(np.linalg.norm(delta)):
            own = truncated_svd(delta, rank)
            right = own.v * (own.s / norm)
            if mean is None:
                image = own.u * (own.s**2 / norm)
            else:
                part = truncated_svd(delta - mean, rank)
                image = (part.u * part.s) @ (part.v.T @ right) + mean @ right
            rights.append(right)
            target += image @ right.T
    return Loss(np.concatenate(rights, axis=1) if rights else np.zeros((layer.pretrained.shape[1], 0)), target)


def _way_of_momentum(gradient: Matrix, rights: Matrix, steps: int, learning_rate: float) -> Matrix:
    """Return the way D that descent with momentum goes with gradient 2(G + D·RRᵀ), whose rows lie in the span of R.

    Every eigenvector of RRᵀ has a way of its own, a number of its eigenvalue times G's part: a step costs no product.
    """
    axes = truncated_svd(rights, min(rights.shape))
    way, speed = np.zeros_like(axes.s), np.zeros_like(axes.s)
    for _ in range(steps):
        speed = _MOMENTUM * speed + 2.0 * (1.0 + axes.s**2 * way)
        way -= learning_rate * speed
    return np.asarray(((gradient @ axes.u) * way) @ axes.u.T)


METHOD = Method(
    name="optmerge",
    title="OptMerge",
    summary="WUDI-Merging's successor: keeps the leading singular directions of every expert's attention and MLP "
    "weights, treats the rest as noise, and adjusts the merge by gradient steps so that it interferes least with what "
    "is kept.",
    formula=r"\theta_m = \theta_0 + \lambda M,\quad M \approx \arg\min_M \sum_t "
    r"\frac{\|(M - \hat\tau_t)\,V_t S_t\|_F^2}{\|\tau_t\|_F^2},\quad "
    r"\tau_t \approx U_t S_t V_t^\top,\ \hat\tau_t - \bar\tau \approx \tau_t - \bar\tau"
    r"\ \text{ of rank } \lfloor r/T \rfloor",
    reference="Wei et al. 2025, OptMerge: unifying multimodal LLM capabilities and modalities via model merging, "
    "arXiv 2505.19892",
    direction=minimise_interference,
    weighted=False,
    hyperparameters=(
        scale(1.0, sweep=(0.2, 2.0)),
        Hyperparameter(
            "variant",
            "the authors' variant for fully fine-tuned experts (Adam from the sum) or LoRA (momentum from the mean)",
            "full",
            choices=("full", "lora"),
            titles=("for fully fine-tuned experts", "for LoRA experts"),
            label="kind of experts",
        ),
        *(item for item in wudi.METHOD.hyperparameters if item.name == "steps"),
        Hyperparameter(
            "learning_rate",
            "learning rate (the authors take 1e-5 for fully fine-tuned experts, 1e-4 for LoRA)",
            1e-5,
            0.0,
            1.0,
            sweep=(1e-6, 1e-3),
            log=True,
        ),
    ),
)
