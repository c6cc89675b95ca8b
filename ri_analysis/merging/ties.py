"""TIES-Merging: trim, elect a sign, merge what agrees."""

from __future__ import annotations

import torch

from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging.method import Method, Walk, scale
from ri_analysis.merging.selection import kth_largest_magnitude, split
from ri_analysis.task_vectors import Layer


class Election:
    """What all layers decide together.

    `thresholds` (T,) are the experts' magnitudes below which entries are trimmed; `majority` is the sign that wins
    where trimmed entries cancel exactly.
    """

    def __init__(self, walk: Walk, density: float) -> None:
        self.thresholds = kth_largest_magnitude(walk, density)
        self._walk, self._majority = walk, 0.0

    @property
    def majority(self) -> float:
        """The sign most elected entries have, +1 in a draw; found by one more walk the first time it is needed."""
        if self._majority == 0.0:
            balance = 0
            for layer in self._walk():
                for chunk in split(layer.deltas):
                    total = _trim(chunk, self.thresholds).sum(dim=0)
                    balance += int(torch.count_nonzero(total > 0)) - int(torch.count_nonzero(total < 0))
            self._majority = -1.0 if balance < 0 else 1.0
        return self._majority


def gather(walk: Walk, *, density: float, merge: str) -> Election:
    """Find each expert's magnitude threshold over its whole flat vector."""
    return Election(walk, density)


def elect_and_merge(layer: Layer, *, gathered: Election, density: float, merge: str) -> torch.Tensor:
    """Return the merged task vector of one layer.

    Every expert keeps its entries of magnitude ≥ its threshold; the sign of their sum is elected entry by entry (a
    sum of 0 takes the majority sign of all entries); what agrees with it is added, or averaged over the experts
    that agree.
    """
    return torch.cat([_merge(chunk, gathered, merge) for chunk in split(layer.deltas)]).view_as(layer.pretrained)


def _merge(deltas: torch.Tensor, election: Election, merge: str) -> torch.Tensor:
    trimmed = _trim(deltas, election.thresholds)
    balance = trimmed.sum(dim=0)
    positive, negative = trimmed.clamp(min=0).sum(dim=0), trimmed.clamp(max=0).sum(dim=0)
    up = balance > 0
    drawn = (balance == 0) & (positive > 0)
    if drawn.any():
        up |= drawn & (election.majority > 0)
    total = torch.where(up, positive, negative)
    if merge == "sum":
        return total
    agree = torch.where(up, (trimmed > 0).sum(dim=0), (trimmed < 0).sum(dim=0))
    return total / agree.clamp(min=1)


def _trim(deltas: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
    """Return the entries (T, n) of magnitude ≥ their expert's threshold, 0 for the others."""
    return deltas * (deltas.abs() >= thresholds[:, None])


METHOD = Method(
    name="ties",
    title="TIES",
    summary="Keeps each expert's largest entries, elects a sign for every weight, and merges the entries that agree.",
    formula=r"\theta_m = \theta_0 + \lambda \sum_{t:\,\operatorname{sgn}\hat\tau_t = s} \hat\tau_t,\quad "
    r"s = \operatorname{sgn}\textstyle\sum_t \hat\tau_t",
    reference="Yadav et al. 2023, TIES-Merging, arXiv 2306.01708",
    direction=elect_and_merge,
    gather=gather,
    hyperparameters=(
        scale(0.3),
        Hyperparameter(
            "density", "share of each expert's entries that is kept", 0.2, 0.001, 1.0, sweep=(0.05, 1.0), step=0.05
        ),
        Hyperparameter(
            "merge",
            "add the agreeing entries (as CLIP replications do) or average them (as the authors do; λ around 1)",
            "sum",
            choices=("sum", "mean"),
        ),
    ),
)
