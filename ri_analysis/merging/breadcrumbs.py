"""Model Breadcrumbs: drop the outliers and the small entries of every task vector."""

from __future__ import annotations

import torch

from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging.method import Method, scale
from ri_analysis.merging.selection import share
from ri_analysis.task_vectors import Layer


def sum_of_breadcrumbs(layer: Layer, *, keep: float, outliers: float) -> torch.Tensor:
    """Return the sum over the experts of the masked task vectors of one layer.

    Along the last dimension of size d, the ⌊outliers·d⌋ entries of largest magnitude are dropped, the next ⌊keep·d⌋
    kept and all others dropped. Of entries of equal magnitude at a boundary any may be taken.
    """
    width = layer.pretrained.shape[-1] if layer.pretrained.ndim else 1
    first, kept = share(outliers, width), share(keep, width)
    total = torch.zeros_like(layer.pretrained)
    for delta in layer.each():
        rows = delta.reshape(-1, width)
        places = rows.abs().topk(min(first + kept, width), dim=1).indices[:, first:]
        total.view(-1, width).scatter_add_(1, places, rows.gather(1, places))
    return total


METHOD = Method(
    name="breadcrumbs",
    title="Model Breadcrumbs",
    summary="Drops the largest entries and the many small ones in every row of each task vector, and adds the rest.",
    formula=r"\theta_m = \theta_0 + \lambda\sum_t m_t^{\beta,\gamma} \odot \tau_t",
    reference="Davari and Belilovsky 2024, Model Breadcrumbs, arXiv 2312.06795",
    direction=sum_of_breadcrumbs,
    linear=True,
    hyperparameters=(
        scale(0.4),
        Hyperparameter(
            "keep",
            "share of each row that is kept",
            0.2,
            0.0,
            1.0,
            sweep=(0.05, 0.9),
            step=0.05,
            label="kept share β",
        ),
        Hyperparameter(
            "outliers",
            "share of each row, its largest entries, that is dropped",
            0.1,
            0.0,
            1.0,
            sweep=(0.0, 0.2),
            step=0.01,
            label="outlier share γ",
        ),
    ),
)
