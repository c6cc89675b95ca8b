"""TIES-Merging: trim, elect a sign, merge what agrees."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from torch.nn.functional import hardshrink

from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging.method import Method, Walk, scale
from ri_analysis.merging.selection import kth_largest_magnitude
from ri_analysis.task_vectors import Layer
from ri_analysis.threads import one_thread


class Election:
    """What all layers decide together.

    `thresholds` (T,) are the experts' magnitudes below which entries are trimmed; `majority` is the sign that wins
    where trimmed entries cancel exactly.
    """

    def __init__(self, walk: Walk, density: float) -> None:
        self.thresholds = kth_largest_magnitude(walk, density)
        self._walk = walk

    @cached_property
    def majority(self) -> int:
        """The sign most elected entries have, +1 in a draw; found by one more walk the first time it is needed."""
        with one_thread:
            balance = sum(int(self._signs(piece)) for layer in self._walk() for piece in layer.pieces())
        return -1 if balance < 0 else 1

    def _signs(self, piece: torch.Tensor) -> torch.Tensor:
        """Return how many more of the elected entries are positive than negative."""
        total = torch.zeros(piece.shape[1])
        for kept in trimmed(piece, self.thresholds):
            total += kept
        return torch.count_nonzero(total > 0) - torch.count_nonzero(total < 0)


def gather(walk: Walk, *, density: float, merge: str) -> Election:
    """Find each expert's magnitude threshold over its whole flat vector."""
    return Election(walk, density)


def elect_and_merge(layer: Layer, *, gathered: Election, density: float, merge: str) -> torch.Tensor:
    """Return the merged task vector of one layer.

    Every expert keeps its entries of magnitude ≥ its threshold; the sign of their sum is elected entry by entry (a
    sum of 0 takes the majority sign of all entries); what agrees with it is added, or averaged over the experts
    that agree.
    """
    return layer.map(lambda piece: _merge(piece, gathered, merge))


def _merge(deltas: torch.Tensor, election: Election, merge: str) -> torch.Tensor:
    total, positive, up_votes, votes = torch.zeros(4, deltas.shape[1])
    for kept in trimmed(deltas, election.thresholds):
        total += kept
        positive += kept.clamp(min=0)
        if merge == "mean":
            up_votes += kept > 0
            votes += kept != 0
    up = total > 0
    drawn = (total == 0) & (positive > 0)
    if drawn.any():
        up |= drawn & (election.majority > 0)
    elected = torch.where(up, positive, total - positive)
    return elected if merge == "sum" else elected / torch.where(up, up_votes, votes - up_votes).clamp(min=1)


def trimmed(deltas: torch.Tensor, thresholds: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield each expert's entries (n,) of magnitude ≥ its threshold, 0 for the others."""
    below = torch.nextafter(thresholds, torch.zeros(()))
    for delta, bound in zip(deltas, below.tolist(), strict=True):
        yield hardshrink(delta, bound)


METHOD = Method(
    name="ties",
    title="TIES",
    summary="Keeps each expert's largest entries, elects a sign for every weight, and merges the entries that agree.",
    formula=r"\theta_m = \theta_0 + \lambda \sum_{t:\,\operatorname{sgn}\hat\tau_t = s} \hat\tau_t,\quad "
    r"s = \operatorname{sgn}\textstyle\sum_t \hat\tau_t",
    reference="Yadav et al. 2023, TIES-Merging, arXiv 2306.01708",
    direction=elect_and_merge,
    gather=gather,
    passes=2,
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
            titles=("sum of agreeing entries", "mean of agreeing entries"),
            label="merged entries",
        ),
    ),
)
