"""Curves and surfaces over hyperparameters: their axes, and how wide their top is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ri_analysis.engine.grids import rounded
from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.errors import InputError
from ri_analysis.hyperparameters import Hyperparameter, suggest
from ri_analysis.intervals import Interval
from ri_analysis.merging import MergeRecipe, Method

MARGIN = 0.01  # a plateau is what lies within one point of the best
REACH = 2.0  # λ is looked at this factor beyond the range declared as worth looking at
COEFFICIENTS = (-0.5, 2.0)  # range of a task's coefficient
_RESAMPLES = 300

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """A hyperparameter, or a task's coefficient, with the values to try; `log` where they are in equal ratios."""

    name: str
    values: tuple[float, ...]
    default: float
    log: bool
    coefficient: bool = False

    def put(self, recipe: MergeRecipe, value: float) -> MergeRecipe:
        """Return the recipe with this axis at `value`."""
        if self.coefficient:
            others = {task: number for task, number in recipe.coefficients if task != self.name}
            changed = others | ({self.name: value} if value != 1.0 else {})
            return replace(
                recipe, coefficients=tuple((task, changed[task]) for task in recipe.tasks if task in changed)
            )
        pairs = tuple(
            (name, (int(value) if isinstance(old, int) else value) if name == self.name else old)
            for name, old in recipe.hyperparameters
        )
        return replace(recipe, hyperparameters=pairs)

    def of(self, recipe: MergeRecipe) -> float:
        """Return where a recipe stands on this axis."""
        if self.coefficient:
            return dict(recipe.coefficients).get(self.name, 1.0)
        return float(recipe.settings[self.name])


def axis_names(method: Method, tasks: Sequence[str]) -> list[str]:
    """Return what can be an axis: the method's numeric hyperparameters, and the tasks where they have coefficients."""
    numeric = [item.name for item in method.hyperparameters if _bounds(item) is not None]
    return numeric + (list(tasks) if method.weighted else [])


def find_axis(method: Method, name: str, tasks: Sequence[str], levels: int) -> Axis:
    """Return the axis called `name` with `levels` values. Raises InputError when it can't be one."""
    names = axis_names(method, tasks)
    if name not in names:
        raise InputError(f"{method.name}: no axis {name!r}; {suggest(name, names)}")
    for item in method.hyperparameters:
        if item.name == name:
            return _of_hyperparameter(item, levels)
    values = tuple(sorted({1.0, *(rounded(value) for value in np.linspace(*COEFFICIENTS, levels))}))
    return Axis(name, values, 1.0, log=False, coefficient=True)


def _of_hyperparameter(item: Hyperparameter, levels: int) -> Axis:
    low, high = _bounds(item) or (0.0, 1.0)
    if item.name == "scale":
        low, high = max(low / REACH, item.low), min(high * REACH, item.high)
    log = low > 0 and (item.log or item.name == "scale")
    numbers = np.geomspace(low, high, levels) if log else np.linspace(low, high, levels)
    values = [float(round(number)) if isinstance(item.default, int) else rounded(number) for number in numbers]
    default = float(item.default)
    if low <= default <= high:  # the default is one of the values, so that it can be compared with the best
        values[min(range(levels), key=lambda place: abs(values[place] - default))] = default
    return Axis(item.name, tuple(dict.fromkeys(values)), default, log)


def _bounds(item: Hyperparameter) -> tuple[float, float] | None:
    """Return the range worth looking at, None where there is none: a named option, or no finite range."""
    low, high = item.sweep or (item.low, item.high)
    return (low, high) if not item.choices and math.isfinite(low) and math.isfinite(high) else None


def coarse(count: int, step: int) -> list[int]:
    """Return every `step`-th of `count` places, the last one included."""
    return sorted({*range(0, count, step), count - 1})


@dataclass(frozen=True)
class Plateau:
    """The stretch around the best value within MARGIN of it.

    `width` is its high end divided by its low end on a logarithmic axis, so that merely rescaled task vectors gain
    nothing; the difference on a linear one. `open` says that it reaches an end of what was tried, and may be wider.
    """

    low: float
    high: float
    width: float
    open: bool


def plateau(
    values: Sequence[float], scores: Sequence[float] | Floats, *, log: bool, level: float | None = None
) -> Plateau:
    """Return the plateau of a curve given at increasing `values`; between them it is taken as straight.

    `level` is the score from which a value counts, by default MARGIN below the best; a curve that nowhere reaches it
    has the narrowest plateau there is. Raises ValueError when there are fewer than two values, or a logarithmic axis
    has one that is not positive.
    """
    if len(values) < 2 or len(values) != len(scores) or (log and min(values) <= 0):
        raise ValueError("expected at least two values with a score each, positive on a logarithmic axis")
    places = np.log(values) if log else np.asarray(values, dtype=np.float64)
    heights, best = np.asarray(scores, dtype=np.float64), int(np.argmax(scores))
    level = heights[best] - MARGIN if level is None else min(level, heights[best])
    low, open_low = _edge(places[best::-1], heights[best::-1], level)
    high, open_high = _edge(places[best:], heights[best:], level)
    width = math.exp(high - low) if log else high - low
    ends = (math.exp(low), math.exp(high)) if log else (low, high)
    return Plateau(*ends, width, open_low or open_high)


def _edge(places: Floats, heights: Floats, level: float) -> tuple[float, bool]:
    """Return where a curve, followed from its best place, falls below `level`, and whether it never does."""
    below = np.flatnonzero(heights < level)
    if not len(below):
        return float(places[-1]), True
    after = int(below[0])
    share = (heights[after - 1] - level) / (heights[after - 1] - heights[after])
    return float(places[after - 1] + share * (places[after] - places[after - 1])), False


def plateau_interval(
    values: Sequence[float],
    outcomes: Sequence[Outcomes],
    *,
    log: bool,
    than: Sequence[Outcomes] | None = None,
    seed: int = 0,
) -> Interval:
    """Return the 95 % bootstrap interval of a plateau's width: images are resampled within their task.

    The level is MARGIN below the best of `than` on the same images, by default of the curve itself.
    """
    curves = resampled_accuracy(outcomes, seed)
    levels = resampled_accuracy(outcomes if than is None else than, seed).max(axis=1) - MARGIN
    widths = [plateau(values, curve, log=log, level=level).width for curve, level in zip(curves, levels, strict=True)]
    low, high = np.quantile(widths, [0.025, 0.975])
    return Interval(float(low), float(high))


def resampled_accuracy(outcomes: Sequence[Outcomes], seed: int) -> Floats:
    """Return the mean accuracies (resamples, outcomes) over resampled images, the same ones for every outcome."""
    generator, total = np.random.default_rng(seed), np.zeros((_RESAMPLES, len(outcomes)))
    for task, first in outcomes[0].correct.items():
        n = len(first)
        weights = generator.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES) / n
        total += weights @ np.stack([outcome.correct[task] for outcome in outcomes], axis=1)
    mean: Floats = total / len(outcomes[0].correct)
    return mean
