"""Merges between measured ones: features interpolated along one direction, or in a plane of two, and by how much wrong.

Along a direction each image's feature vector moves smoothly, so a low-order polynomial through its values at a few
measured points stands in for the model. How wrong that is, is measured: along a direction every inner point is left out
in turn and predicted from the others, in a plane some more are measured and predicted.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.live.sample import Features, Sample

ORDER = 3  # of the polynomial: through the four nearest points
LEAST = 3  # points without which there is no inner one to leave out
GOOD = (0.005, 0.01)  # errors of mean accuracy and nats that are not worth another point
SIDES = (3, 5)  # points along each side of a plane: at first, and refined
Place = tuple[float, float]
P = TypeVar("P")


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

    @property
    def usable(self) -> int:
        """How many points serve to interpolate, of those measured first; 0 as long as there are too few."""
        return len(self.points) if len(self.points) >= LEAST else 0

    def outcomes(self, position: float) -> Outcomes | None:
        """Return what the model at `position` makes of the sample; None beyond the outermost points."""
        points = self.points
        if len(points) < LEAST or not min(points) <= position <= max(points):
            return None
        return self._between(position, points)

    def error(self, count: int | None = None) -> Error:
        """Return the largest error at an inner point left out, of the first `count`; with LEAST points or more."""
        return _largest([_compared(predicted, known) for predicted, known in self._left_out(count)])

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

    def _left_out(self, count: int | None = None) -> Iterator[tuple[Outcomes, Outcomes]]:
        """Yield the prediction and the truth at each inner point."""
        known = dict(islice(self.points.items(), count))
        for position in sorted(known)[1:-1]:
            others = {other: features for other, features in known.items() if other != position}
            yield self._between(position, others), self.sample.outcomes(known[position])

    def _between(self, position: float, points: Mapping[float, Features]) -> Outcomes:
        nearest = sorted(sorted(points, key=lambda other: abs(other - position))[: ORDER + 1])
        return _mixed(self.sample, lagrange(nearest, position), [points[place] for place in nearest])


class Interpolator(Protocol[P]):
    """What is known of one model along a path or in a plane, whose positions are numbers or pairs of them."""

    @property
    def sample(self) -> Sample:
        """The images, and what does not depend on the model."""

    @property
    def points(self) -> Mapping[P, Features]:
        """The features measured so far, in the order in which they came."""

    @property
    def usable(self) -> int:
        """How many points serve to interpolate, of those measured first."""

    def outcomes(self, position: P) -> Outcomes | None:
        """Return what the model at a position makes of the sample; None where that is not known."""

    def error(self, count: int | None = None) -> Error:
        """Return the largest error that was seen, with the first `count` points."""


@dataclass
class PlaneSurrogate:
    """One model in a plane of two coefficients. `points` maps places on its grid to the features measured there.

    `checks` are places off the grid. The grid comes in the order of `grid`; as in a Surrogate, mappings are replaced.
    """

    sample: Sample
    points: Mapping[Place, Features] = field(default_factory=dict)
    checks: Mapping[Place, Features] = field(default_factory=dict)

    @property
    def usable(self) -> int:
        """How many points serve to interpolate, of those measured first: a whole grid, once it was checked."""
        whole = [side**2 for side in SIDES if side**2 <= len(self.points)]
        return whole[-1] if whole and len(self.checks) == len(between(0, 1)) else 0

    def outcomes(self, position: Place) -> Outcomes | None:
        """Return what the model at `position` makes of the sample; None beyond the grid's edges."""
        count = self.usable
        return self._at(position, count) if count and _within(position, self.points) else None

    def error(self, count: int | None = None) -> Error:
        """Return the largest error at a place off the grid of the first `count` points."""
        number, checks = count or self.usable, self.checks
        found = [_compared(self._at(place, number), self.sample.outcomes(known)) for place, known in checks.items()]
        return _largest(found)

    def _at(self, position: Place, count: int) -> Outcomes:
        known = dict(islice(self.points.items(), count))
        return _mixed(self.sample, tensor_lagrange(list(known), position), list(known.values()))


def grid(low: float, high: float, refined: bool) -> list[Place]:
    """Return the places of a plane's points, those of the first grid in front.

    They are extrema of Chebyshev polynomials along each axis, between which polynomials keep closest to smooth
    functions; each grid holds those before it.
    """
    found: dict[Place, None] = {}
    for side in SIDES if refined else SIDES[:1]:
        middle, half = (low + high) / 2, (high - low) / 2
        line = [round(middle - half * math.cos(math.pi * step / (side - 1)), 6) for step in range(side)]
        found |= dict.fromkeys(itertools.product(line, line))
    return list(found)


def between(low: float, high: float) -> list[Place]:
    """Return the places at which what is interpolated in a plane is checked: off all grids, in its four quarters."""
    near, far = low + 0.3 * (high - low), low + 0.7 * (high - low)
    return [(round(x, 6), round(y, 6)) for x, y in itertools.product((near, far), repeat=2)]


def tensor_lagrange(places: Sequence[Place], position: Place) -> list[float]:
    """Return the weights of values at the `places` of a whole grid in the polynomial through them, at `position`."""
    weights = []
    for axis in range(2):
        line = sorted({place[axis] for place in places})
        weights.append(dict(zip(line, lagrange(line, position[axis]), strict=True)))
    return [weights[0][x] * weights[1][y] for x, y in places]


def fill(
    surrogates: list[PlaneSurrogate],
    low: float,
    high: float,
    measure: Callable[[Place], list[Features]],
    *,
    refined: bool,
) -> Iterator[int]:
    """Measure a plane from coarse to fine: the first grid, what checks it, then the rest; yield how many after each."""
    places, first = grid(low, high, refined), SIDES[0] ** 2
    steps = [(place, False) for place in places[:first]] + [(place, True) for place in between(low, high)]
    steps += [(place, False) for place in places[first:]]
    for number, (place, check) in enumerate(steps, 1):
        if place in (surrogates[0].checks if check else surrogates[0].points):
            continue
        for surrogate, features in zip(surrogates, measure(place), strict=True):
            if check:
                surrogate.checks = {**surrogate.checks, place: features}
            else:
                surrogate.points = {**surrogate.points, place: features}
        yield number


def _within(position: Place, places: Iterable[Place]) -> bool:
    return all(min(line) <= value <= max(line) for value, line in zip(position, zip(*places, strict=True), strict=True))


def _mixed(sample: Sample, weights: Sequence[float], points: Sequence[Features]) -> Outcomes:
    """Return what a model makes of the sample whose features are so mixed."""
    found = {}
    for task in points[0]:
        total = sum(weight * features[task] for weight, features in zip(weights, points, strict=True))
        found[task] = _unit(torch.as_tensor(total))
    return sample.outcomes(found)


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
