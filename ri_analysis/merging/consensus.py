"""Consensus merging: TALL masks vote on the entries of the summed task vector."""

from __future__ import annotations

import torch

from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging.method import Method, scale
from ri_analysis.task_vectors import Layer


def sum_where_agreed(layer: Layer, *, threshold: float, min_agree: int) -> torch.Tensor:
    """Return Στ of one layer where at least `min_agree` TALL masks are set, 0 elsewhere.

    The mask of task t is |τ_t| > threshold · |Στ − τ_t|: the entry matters to t in spite of the others. With fewer
    experts than `min_agree` all of them have to agree.
    """
    return layer.map(lambda piece: _vote(piece, threshold, min_agree))


def _vote(deltas: torch.Tensor, threshold: float, min_agree: int) -> torch.Tensor:
    total = deltas.sum(dim=0)
    votes = (deltas.abs() > threshold * (total - deltas).abs()).sum(dim=0)
    return total * (votes >= min(min_agree, len(deltas)))


METHOD = Method(
    name="consensus",
    title="Consensus (TALL masks)",
    summary="Keeps the entries of the summed task vector that matter to several experts, and drops those that matter "
    "to one or none.",
    formula=r"\theta_m = \theta_0 + \lambda \textstyle\left(\sum_t \tau_t\right) \odot "
    r"\left[\sum_t m_t \ge k\right],\quad m_t = \left[|\tau_t| > \lambda_t\,\left|\sum_j \tau_j - \tau_t\right|\right]",
    reference="Wang et al. 2024, Localizing task information (TALL masks), arXiv 2405.07813",
    direction=sum_where_agreed,
    hyperparameters=(
        scale(0.3),
        Hyperparameter(
            "threshold",
            "threshold λ_t of the masks (the authors choose it for each task on validation data)",
            0.4,
            0.0,
            10.0,
            sweep=(0.2, 0.6),
            step=0.1,
            label="mask threshold",
        ),
        Hyperparameter(
            "min_agree",
            "number of masks that must keep an entry",
            2,
            0,
            1000,
            sweep=(1, 4),
            step=1,
            label="masks that must agree",
            unit="masks",
        ),
    ),
)
