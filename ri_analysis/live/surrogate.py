"""Merges between measured ones: features interpolated along one direction or in a plane of two, and by how much wrong.

Each image's feature vector changes smoothly with a merge's coefficients and scale, so a polynomial through its values
at a few measured points stands in for the model. The points are extrema of Chebyshev polynomials, between which
polynomials keep closest to smooth functions (Trefethen, Approximation Theory and Approximation Practice, chapters 2
and 7). How wrong that is, is measured: the model is looked at in some places off the grid, too, and compared.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch

from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.live.sample import Features, Sample

GOOD = (0.005, 0.01)  # errors of mean accuracy and nats that are not worth another point
Place = tuple[float, ...]  # one number along a path, two in a plane
# Places that are checked, as shares of the axes, between the points of all levels: at first, and further ones.
_ON_PATH = (((0.24,), (0.76,)), ((0.6,), (0.07,)))
_IN_PLANE = (((0.24, 0.24), (0.76, 0.76)), ((0.24, 0.76), (0.76, 0.24)))


@dataclass(frozen=True)
class Grid:
    """Places between the ends `low` and `high` of each axis, in levels, each of which holds those before.

    `sides` says how many places a level has along an axis: 2 (the ends), 3, 5, 9, rising. `fitting` rounds to what is
    allowed.
    """

    low: Place
    high: Place
    sides: tuple[int, ...] = (3, 5, 9)
    fitting: Callable[[Place], Place] = tuple

    @cached_property
    def levels(self) -> list[list[Place]]:
        """The places of each level, those of the levels before in front."""
        found: dict[Place, None] = {}
        levels = []
        for side in self.sides:
            shares = [(1 - math.cos(math.pi * step / (side - 1))) / 2 for step in range(side)]
            found |= dict.fromkeys(self._at(itertools.product(shares, repeat=len(self.low))))
            levels.append(list(found))
        return levels

    @cached_property
    def checks(self) -> list[list[Place]]:
        """Places off all levels at which what is interpolated is checked: two to begin with, and two further ones."""
        shares = _ON_PATH if len(self.low) == 1 else _IN_PLANE
        return [[place for place in self._at(some) if place not in self.levels[-1]] for some in shares]

    @property
    def steps(self) -> Iterator[tuple[Place, bool]]:
        """The places in the order in which they are measured, and whether each is a check: from coarse to fine."""
        first, further = self.checks
        yield from ((place, False) for place in self.levels[0])
        yield from ((place, True) for place in first)
        yield from ((place, False) for place in self.levels[-1][len(self.levels[0]) :])
        yield from ((place, True) for place in further)

    def _at(self, shares: Iterable[Place]) -> list[Place]:
        """Return the places at shares of each axis."""
        ends = list(zip(self.low, self.high, strict=True))
        places = (
            tuple(round(low + share * (high - low), 9) for share, (low, high) in zip(some, ends, strict=True))
            for some in shares
        )
        return list(dict.fromkeys(map(self.fitting, places)))


@dataclass(frozen=True)
class Error:
    """The largest error at a place off the grid: of mean accuracy and mean ξ, and of each task's."""

    mean_accuracy: float
    mean_interference: float
    accuracy: dict[str, float]
    interference: dict[str, float]


@dataclass
class Surrogate:
    """One model on a grid. `points` maps places of the grid to the features measured there, `checks` those off it.

    One thread may add to them while others ask: the mappings are replaced, never changed.
    """

    sample: Sample
    grid: Grid
    points: Mapping[Place, Features] = field(default_factory=dict)
    checks: Mapping[Place, Features] = field(default_factory=dict)

    @property
    def usable(self) -> int:
        """How many points serve to interpolate, of those measured first: a whole level, once it was checked; or 0."""
        known = len(self.points)
        whole = [len(level) for level in self.grid.levels if len(level) <= known]
        return whole[-1] if whole and len(self.checks) >= len(self.grid.checks[0]) else 0

    def outcomes(self, place: Place) -> Outcomes | None:
        """Return what the model at `place` makes of the sample; None beyond the grid's ends, and too early."""
        count = self.usable
        within = zip(self.grid.low, place, self.grid.high, strict=True)
        return self._at(place, count) if count and all(low <= value <= high for low, value, high in within) else None

    def error(self, count: int | None = None) -> Error:
        """Return the largest error at a check, interpolated between the first `count` points, or the usable ones."""
        number = count or self.usable
        found = [
            _compared(self._at(place, number), self.sample.outcomes(known)) for place, known in self.checks.items()
        ]
        return _largest(found, self.sample.labels)

    def _at(self, place: Place, count: int) -> Outcomes:
        known = dict(islice(self.points.items(), count))
        mixed = {}
        for task in next(iter(known.values())):
            weights = zip(lagrange(list(known), place), known.values(), strict=True)
            mixed[task] = _unit(torch.as_tensor(sum(weight * features[task] for weight, features in weights)))
        return self.sample.outcomes(mixed)


def lagrange(places: Sequence[Place], place: Place) -> list[float]:
    """Return the weights of values at the `places` of a whole grid in the polynomial through them, at `place`."""
    weights = []
    for axis, value in enumerate(place):
        line = {each[axis] for each in places}
        weights.append({at: math.prod((value - other) / (at - other) for other in line if other != at) for at in line})
    return [math.prod(by[value] for by, value in zip(weights, each, strict=True)) for each in places]


def fill(surrogates: list[Surrogate], measure: Callable[[Place], list[Features]]) -> Iterator[int]:
    """Measure what is missing on the surrogates' grid; yield a number after each place.

    Levels are left out once the error is good, checks never are. `measure` returns the features of each surrogate's
    model at a place.
    """
    lead, good = surrogates[0], False
    ends = {len(level) for level in lead.grid.levels}
    for number, (place, check) in enumerate(lead.grid.steps, 1):
        if place not in (lead.checks if check else lead.points) and (check or not good):
            for surrogate, features in zip(surrogates, measure(place), strict=True):
                if check:
                    surrogate.checks = {**surrogate.checks, place: features}
                else:
                    surrogate.points = {**surrogate.points, place: features}
            yield number
        good = good or (len(lead.points) in ends and lead.usable > 0 and _all_good(surrogates))


def _all_good(surrogates: list[Surrogate]) -> bool:
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


def _largest(errors: list[Error], tasks: Iterable[str]) -> Error:
    """Return the largest of each; zeros where there is no place between the points to be wrong at."""
    return Error(
        max((error.mean_accuracy for error in errors), default=0.0),
        max((error.mean_interference for error in errors), default=0.0),
        {task: max((error.accuracy[task] for error in errors), default=0.0) for task in tasks},
        {task: max((error.interference[task] for error in errors), default=0.0) for task in tasks},
    )
