"""Experts as points on a sphere, one sphere a tensor: what SLERP and the Karcher mean share.

Whatever lies on the great circles through the experts θ_t is a combination of them, so both methods only need the
experts' inner products and give T coefficients. Inner products are summed in float64.
"""

from __future__ import annotations

import torch

from ri_analysis.task_vectors import PIECE, Layer


def inner_products(layer: Layer) -> torch.Tensor:
    """Return the inner products of the experts θ_t = θ₀ + τ_t of one layer, float64, shape (T, T)."""
    total: torch.Tensor | float = 0.0
    pieces = torch.split(layer.pretrained.reshape(-1), PIECE)
    for pretrained, deltas in zip(pieces, layer.pieces(), strict=True):
        models = deltas.double() + pretrained.double()
        total = total + models @ models.T
    return torch.as_tensor(total)


def combination(layer: Layer, coefficients: torch.Tensor) -> torch.Tensor:
    """Return Σ_t a_tθ_t − θ₀ of one layer for coefficients a (T,), without cancellation in θ₀."""
    weights = coefficients.view(-1, *[1] * layer.pretrained.ndim)
    moved = torch.zeros_like(layer.pretrained, dtype=torch.float64)
    for weight, delta in zip(weights, layer.each(), strict=True):
        moved += weight * delta
    moved += layer.pretrained * (coefficients.sum() - 1.0)
    return moved.float()
