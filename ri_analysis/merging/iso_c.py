"""Iso-C: the sum of the task vectors with all its singular values made equal."""

from __future__ import annotations

import torch

from ri_analysis.merging.averaging import average
from ri_analysis.merging.factorisation import as_single, as_tensor, polar_factor
from ri_analysis.merging.method import Method, scale
from ri_analysis.merging.task_arithmetic import add
from ri_analysis.task_vectors import Layer


def flatten_spectrum(layer: Layer) -> torch.Tensor:
    """Return mean(S)·UVᵀ of Στ = U diag(S) Vᵀ for a matrix, the mean of anything else.

    UVᵀ is the polar factor, so no SVD is taken. The mean runs over all r singular values; directions below ε·σ₁ stay
    empty, see `factorisation`.
    """
    if not layer.is_matrix:
        return average(layer)
    factor, nuclear_norm = polar_factor(as_single(add(layer)))
    return as_tensor(factor).mul_(nuclear_norm / min(layer.pretrained.shape))


METHOD = Method(
    name="iso-c",
    title="Iso-C",
    summary="Adds the task vectors and gives all singular directions of every summed weight matrix the same strength.",
    formula=r"\theta_m = \theta_0 + \lambda\,\bar\sigma\,U V^\top,\quad \textstyle\sum_t \tau_t = U \Sigma V^\top,\ "
    r"\bar\sigma = \frac1r \operatorname{tr}\Sigma",
    reference="Marczak et al. 2025, No Task Left Behind: isotropic model merging, arXiv 2502.04959",
    direction=flatten_spectrum,
    hyperparameters=(scale(1.0, sweep=(0.1, 3.0)),),
)
