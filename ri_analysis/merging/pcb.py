"""PCB-Merging: parameters compete within and between task vectors."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging.method import Method, Walk, scale
from ri_analysis.merging.selection import kth_largest, share
from ri_analysis.task_vectors import Layer


class Competition(NamedTuple):
    """Global statistics, (T, 1) each: the range magnitudes are clipped to and the range of scores above the floor."""

    low: torch.Tensor
    high: torch.Tensor
    floor: torch.Tensor
    best: torch.Tensor


def gather(walk: Walk, *, keep: float, clip: float) -> Competition:
    """Find each expert's quantiles of magnitude, then of score, over its whole flat vector."""

    low = kth_largest(walk, torch.abs, lambda total: total - share(clip, total))[:, None]
    high = kth_largest(walk, torch.abs, lambda total: share(clip, total) + 1)[:, None]

    def scores(deltas: torch.Tensor) -> torch.Tensor:
        return _scores(deltas, low, high)

    floor = kth_largest(walk, scores, lambda total: max(1, total - share(1.0 - keep, total)))[:, None]
    best = torch.full_like(floor, -torch.inf)
    for layer in walk():
        for piece in layer.pieces():
            best = torch.maximum(best, scores(piece).amax(dim=1, keepdim=True))
    return Competition(low, high, floor, best)


def balance(layer: Layer, *, gathered: Competition, keep: float, clip: float) -> torch.Tensor:
    """Return Σ_t w_t τ̂_t / Σ_t w_t of one layer, 0 where every weight is 0.

    τ̂_t is τ_t with its magnitudes clipped to their `clip` and 1 − `clip` quantiles. The score of an entry is
    exp(T·minmax(|τ̂_t|)²) · tanh(τ_t·Στ); scores below their 1 − `keep` quantile are raised to it, and w_t is the
    min-max normalised result. An expert whose scores are all equal takes no part.
    """
    return layer.map(lambda piece: _balance(piece, gathered))


def _balance(deltas: torch.Tensor, race: Competition) -> torch.Tensor:
    spread = race.best - race.floor
    weights = (_scores(deltas, race.low, race.high) - race.floor).clamp(min=0)
    weights = torch.where(spread > 0, weights / spread, 0.0)
    clipped = deltas.sign() * deltas.abs().clamp(race.low, race.high)
    return (weights * clipped).sum(dim=0) / weights.sum(dim=0).clamp(min=1e-12)


def _scores(deltas: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    # A common factor of the scores cancels in w: half of the exponent is taken out, or 90 experts would overflow.
    within = ((deltas.abs().clamp(low, high) - low) / (high - low)).nan_to_num_(0.0)
    return torch.exp(len(deltas) * (within.square_() - 0.5)).mul_(torch.tanh(deltas * deltas.sum(dim=0)))


METHOD = Method(
    name="pcb",
    title="PCB-Merging",
    summary="Lets entries compete, by their size within an expert and by their agreement between experts, and "
    "averages the winners by their scores.",
    formula=r"\theta_m = \theta_0 + \lambda\,\frac{\sum_t w_t \odot \hat\tau_t}{\sum_t w_t},\quad "
    r"w_t = \operatorname{minmax}\max\left(q,\ e^{T \operatorname{minmax}(|\hat\tau_t|)^2} "
    r"\tanh(\tau_t \textstyle\sum_j \tau_j)\right)",
    reference="Du et al. 2024, Parameter Competition Balancing, arXiv 2410.02396",
    direction=balance,
    gather=gather,
    passes=7,
    hyperparameters=(
        scale(1.2, sweep=(0.4, 2.4)),
        Hyperparameter(
            "keep",
            "share of each expert's entries with a weight above 0",
            0.05,
            0.001,
            1.0,
            sweep=(0.05, 0.5),
            step=0.05,
            label="kept share",
        ),
        Hyperparameter(
            "clip", "share of the magnitudes clipped at either end", 0.01, 0.0, 0.2, step=0.005, label="clipped share"
        ),
    ),
)
