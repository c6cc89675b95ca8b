"""Task Arithmetic."""

from __future__ import annotations

import torch

from ri_analysis.merging.method import Method, scale
from ri_analysis.task_vectors import Layer


def add(layer: Layer) -> torch.Tensor:
    """Return Σ_t τ_t of one layer."""
    return layer.map(lambda piece: piece.sum(dim=0))


METHOD = Method(
    name="task-arithmetic",
    title="Task Arithmetic",
    summary="The sum of the task vectors, scaled by one factor.",
    formula=r"\theta_m = \theta_0 + \lambda\sum_t \tau_t",
    reference="Ilharco et al. 2023, Editing models with task arithmetic, arXiv 2212.04089",
    direction=add,
    linear=True,
    hyperparameters=(scale(0.3),),
)
