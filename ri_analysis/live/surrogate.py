"""Merges between measured ones: features interpolated along one direction, with the error that this was seen to make.

For suites whose models take too long for live sliders. Along a direction each image's feature vector moves smoothly, so
a low-order polynomial through its values at a few measured points stands in for the model. How wrong that is, is
measured: every inner point is left out in turn and predicted from the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.live.sample import Features, Sample

ORDER = 3  # of the polynomial: through the four nearest points
LEAST = 3  # points without which there is no inner one to leave out
GOOD = (0.005, 0.01)  # errors of mean accuracy and nats that are not worth another point


@dataclass(frozen=True)
class Error:
    """The largest error at a left-out point: of mean accuracy and mean ξ, and of each task's."""

    mean_accuracy: float
    mean_interference: float
    accuracy: dict[str, float]
    interference: dict[str, float]


@dataclass
class Surrogate:
    """One model along one direction. `points` maps a position to the features measured there.

    One thread may add points while others ask: the mapping is replaced, never changed.
    """

    sample: Sample
    points: Mapping[float, Features] = field(default_factory=dict)

    def outcomes(self, position: float) -> Outcomes | None:
        """Return what the model at `position` makes of the sample; None beyond the outermost points."""
        points = self.points
        if len(points) < LEAST or not min(points) <= position <= max(points):
            return None
        return self._between(position, points)

    def error(self) -> Error:
        """Return the largest error at an inner point left out; with LEAST points or more."""
        return _largest([_compared(predicted, known) for predicted, known in self._left_out()])

    def next_position(self, low: float, high: float) -> float:
        """Return where to measure next: the ends, then the middle of the gap beside the worst predicted point."""
        known = sorted(self.points)
        for end in (low, high):
            if end not in self.points:
                return end
        if len(known) < LEAST:
            return (low + high) / 2
        errors = [_compared(predicted, truth).mean_accuracy for predicted, truth in self._left_out()]
        beside = dict(zip(known[1:-1], errors, strict=True))
        gaps = list(pairwise(known))
        # The wider of two gaps with the same neighbours first; the error falls with the gap's width.
        worst = max(gaps, key=lambda gap: (gap[1] - gap[0]) * (1e-6 + max(beside.get(end, 0.0) for end in gap)))
        return (worst[0] + worst[1]) / 2

    def _left_out(self) -> Iterator[tuple[Outcomes, Outcomes]]:
        """Yield the prediction and the truth at each inner point."""
        known = self.points
        for position in sorted(known)[1:-1]:
            others = {other: features for other, features in known.items() if other != position}
            yield self._between(position, others), self.sample.outcomes(known[position])

    def _between(self, position: float, points: Mapping[float, Features]) -> Outcomes:
        nearest = sorted(sorted(points, key=lambda other: abs(other - position))[: ORDER + 1])
        weights = lagrange(nearest, position)
        tasks = points[nearest[0]]
        mixed = {
            task: sum(weight * points[place][task] for weight, place in zip(weights, nearest, strict=True))
            for task in tasks
        }
        return self.sample.outcomes({task: _unit(torch.as_tensor(values)) for task, values in mixed.items()})


def lagrange(positions: list[float], position: float) -> list[float]:
    """Return the weights of values at `positions` in the polynomial through them, taken at `position`."""
    return [
        float(np.prod([(position - other) / (place - other) for other in positions if other != place]))
        for place in positions
    ]


def refine(
    surrogates: list[Surrogate],
    low: float,
    high: float,
    measure: Callable[[float], list[Features]],
    *,
    first: float | None = None,
    most: int = 9,
    fitting: Callable[[float], float] = float,
) -> Iterator[int]:
    """Measure points until the error is good, or there are `most`; yield their number after each.

    `measure` returns the features of each surrogate's model at a position; `first` is measured first, `fitting` rounds
    a position to one that is allowed.
    """
    lead = surrogates[0]
    while len(lead.points) < most and not _all_good(surrogates, low, high):
        position = first if first is not None and first not in lead.points else lead.next_position(low, high)
        position = fitting(position)
        if position in lead.points:
            return  # there is no room for another point
        for surrogate, features in zip(surrogates, measure(position), strict=True):
            surrogate.points = {**surrogate.points, position: features}
        yield len(lead.points)


def _all_good(surrogates: list[Surrogate], low: float, high: float) -> bool:
    known = surrogates[0].points
    if len(known) <= LEAST or low not in known or high not in known:
        return False
    errors = [surrogate.error() for surrogate in surrogates]
    return all(error.mean_accuracy <= GOOD[0] and error.mean_interference <= GOOD[1] for error in errors)


def _unit(features: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(features, dim=-1)


def _compared(predicted: Outcomes, known: Outcomes) -> Error:
    accuracy = {task: _apart(predicted.correct[task], values) for task, values in known.correct.items()}
    nats = {task: _apart(predicted.divergence[task], values) for task, values in known.divergence.items()}
    return Error(
        abs(float(np.mean(list(accuracy.values())))),
        abs(float(np.mean(list(nats.values())))),
        {task: abs(value) for task, value in accuracy.items()},
        {task: abs(value) for task, value in nats.items()},
    )


def _apart(first: npt.NDArray[np.generic], second: npt.NDArray[np.generic]) -> float:
    return float(first.mean(dtype=np.float64) - second.mean(dtype=np.float64))


def _largest(errors: list[Error]) -> Error:
    return Error(
        max(error.mean_accuracy for error in errors),
        max(error.mean_interference for error in errors),
        {task: max(error.accuracy[task] for error in errors) for task in errors[0].accuracy},
        {task: max(error.interference[task] for error in errors) for task in errors[0].interference},
    )
