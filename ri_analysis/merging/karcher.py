"""Karcher mean: the point on the sphere nearest to all experts."""

from __future__ import annotations

import torch

from ri_analysis.merging.method import Method
from ri_analysis.merging.sphere import combination, inner_products
from ri_analysis.task_vectors import Layer

_STEPS, _TOLERANCE = 100, 1e-12


def centre(layer: Layer) -> torch.Tensor:
    """Return the Karcher mean of the experts θ_t − θ₀ of one layer.

    The experts' directions u_t = θ_t/‖θ_t‖ have the mean x with Σ_t log_x(u_t) = 0, found by x ← exp_x of the mean
    of log_x(u_t); it gets the experts' mean norm. Experts whose tensor is zero have no direction and count in the
    norm only. Where experts are opposite the mean is not unique and the one reached from their sum is taken.
    """
    products = inner_products(layer)
    norms = products.diagonal().sqrt()
    present = norms > 0
    if not present.any():
        return combination(layer, torch.zeros_like(norms))
    outer = (norms[:, None] * norms)[present][:, present]
    weights = _mean_direction(products[present][:, present] / outer)
    coefficients = torch.zeros_like(norms)
    coefficients[present] = weights / norms[present] * norms.mean()
    return combination(layer, coefficients)


def _mean_direction(cosines: torch.Tensor) -> torch.Tensor:
    """Return a with Σ a_t u_t the Karcher mean of unit vectors u_t, given their cosines (T, T)."""
    a = torch.ones(len(cosines), dtype=torch.float64)
    if float(a @ cosines @ a) < 1e-12:
        a[1:] = 0.0  # the directions cancel: start from the first
    a /= (a @ cosines @ a).sqrt()
    for _ in range(_STEPS):
        towards = (cosines @ a).clamp(-1.0, 1.0)
        angles = torch.arccos(towards)
        # log_x(u) = (u − cos·x)·angle/sin; the factor is 1 at angle 0 and undefined at π, where u is left out.
        factors = torch.where(angles < 1e-6, 1.0, angles / torch.sin(angles))
        factors = torch.where(towards > -1 + 1e-12, factors, 0.0) / len(cosines)
        tangent = factors - (factors * towards).sum() * a
        length = (tangent @ cosines @ tangent).clamp(min=0).sqrt()
        if length < _TOLERANCE:
            break
        a = torch.cos(length) * a + torch.sin(length) / length * tangent
        a = a / (a @ cosines @ a).sqrt()
    return a


METHOD = Method(
    name="karcher",
    title="Karcher mean",
    summary="The mean of the experts along arcs of a sphere instead of straight lines, tensor by tensor.",
    formula=r"\theta_m = \frac1T\sum_t\|\theta_t\| \cdot \arg\min_{\|x\|=1} \sum_t "
    r"\angle\left(x, \tfrac{\theta_t}{\|\theta_t\|}\right)^2",
    reference="Karcher 1977, Riemannian center of mass and mollifier smoothing, doi 10.1002/cpa.3160300502",
    direction=centre,
    weighted=False,
)
