"""Task Arithmetic; of one expert, WiSE-FT."""

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
    summary="The sum of the task vectors, scaled by one factor. With one expert this is WiSE-FT: λ goes from the "
    "pretrained model (0) to the expert (1).",
    formula=r"\theta_m = \theta_0 + \lambda\sum_t \tau_t",
    reference="Ilharco et al. 2023, Editing models with task arithmetic, arXiv 2212.04089; Wortsman et al. 2022, "
    "Robust fine-tuning of zero-shot models (WiSE-FT), arXiv 2109.01903",
    direction=add,
    linear=True,
    hyperparameters=(scale(0.3),),
)
