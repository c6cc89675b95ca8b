"""Averaging of weights."""

from __future__ import annotations

import torch

from ri_analysis.merging.method import Method, scale
from ri_analysis.task_vectors import Layer


def average(layer: Layer) -> torch.Tensor:
    """Return Σ_t τ_t / T of one layer."""
    return layer.map(lambda piece: piece.mean(dim=0))


METHOD = Method(
    name="averaging",
    title="Averaging",
    summary="The mean of the experts: each task vector is weighted by 1/T. With λ below 1 this is WiSE-FT of their "
    "mean: λ goes from the pretrained model (0) to the mean (1).",
    formula=r"\theta_m = \theta_0 + \lambda\,\frac{1}{T}\sum_t \tau_t",
    reference="Wortsman et al. 2022, Model soups, arXiv 2203.05482",
    direction=average,
    linear=True,
    hyperparameters=(scale(1.0, sweep=(0.5, 8.0)),),
)
