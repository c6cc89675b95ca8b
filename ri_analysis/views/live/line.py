"""The path on which a slider moves a recipe, and the surrogates along it: the page slides on them by itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from ri_analysis.engine import Evaluator
from ri_analysis.engine.comparison import Comparison
from ri_analysis.engine.measurement import Request
from ri_analysis.live import sliding
from ri_analysis.live.estimate import Estimate, estimate
from ri_analysis.live.probe import LiveProbe
from ri_analysis.live.sample import Features, Sample
from ri_analysis.live.surrogate import Error, Grid, Place, Surrogate, fill
from ri_analysis.progress import Counter
from ri_analysis.ui import recipes, resources, state
from ri_analysis.ui.controls import track
from ri_analysis.ui.jobs import Job
from ri_analysis.ui.recipes import Pair
from ri_analysis.views.live.exact import PURPOSE

PURPOSE_SLIDE = "slide"
SMOOTH = (0.02, 0.1)  # errors of mean accuracy and nats up to which a look is not better than what is interpolated
Have = tuple[str, int, int, int]  # what the page knows: a path, its points and checks, the number of the reference
PAD = "pad"
_ENDS = (-10.0, 10.0)  # of a coefficient


class Direction(Protocol):
    """What a hand moves along, from a recipe to others."""

    @property
    def held(self) -> str:
        """The page's name of what the hand holds."""

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are allowed, between which nothing is smooth."""

    def grid(self, *, live: bool) -> Grid:
        """Return where the models are measured; at fewer places where each takes long."""

    def at(self, place: Place) -> state.Texts:
        """Return the recipe's entries at a place."""

    def here(self) -> Place:
        """Return the place of the recipe that is chosen now, if it lies on the way."""

    def described(self) -> dict[str, Any]:
        """Return how the page finds places from the sliders' values (slide.js)."""


@dataclass(frozen=True)
class SliderPath:
    """From `base`, a recipe's entries, the entry `held` takes any value from `low` to `high`.

    `offsets` are the other coefficients that move with it, as differences from it. Places are values, or their
    logarithms where the slider is logarithmic; `whole` numbers are rounded.
    """

    base: tuple[tuple[str, str], ...]
    held: str
    low: float
    high: float
    offsets: tuple[tuple[str, float], ...] = ()
    log: bool = False
    whole: bool = False

    @classmethod
    def of(
        cls, base: Mapping[str, str], held: str, now: Mapping[str, str], linked: Iterable[str] = ()
    ) -> SliderPath | None:
        """Return the direction from a recipe to another by the slider `held`; None where that is no slider.

        The coefficients `linked` move with it, and those that have moved.
        """
        moved = [name for name in set(base) | set(now) if name != held and base.get(name) != now.get(name)]
        if held.startswith(recipes.COEFFICIENT):
            value = float(base.get(held, 1.0))
            low, high = (min(recipes.COEFFICIENT_RANGE[0], value), max(recipes.COEFFICIENT_RANGE[1], value))
            also = {name for name in moved if name.startswith(recipes.COEFFICIENT)} | set(linked) - {held}
            others = sorted(also)
            offsets = tuple((name, round(float(base.get(name, 1.0)) - value, 6)) for name in others)
            return cls(_rest(base, held, others), held, low, high, offsets)
        method = recipes.chosen_method(dict(now))
        for item in method.hyperparameters:
            way = track(item, recipes.chosen_value(method.name, item, dict(base)))
            if recipes.entry(method.name, item) == held and way is not None:
                low, high = (math.log(end) for end in (way.low, way.high)) if item.log else (way.low, way.high)
                return cls(_rest(base, held, ()), held, low, high, (), item.log, isinstance(item.default, int))
        return None

    def grid(self, *, live: bool) -> Grid:
        """Return where the models are measured."""
        return Grid((self.low,), (self.high,), fitting=lambda place: self._place(self._value(place)))

    def at(self, place: Place) -> state.Texts:
        """Return the recipe's entries at a place."""
        value = self._value(place)
        others = {name: min(_ENDS[1], max(_ENDS[0], value + by)) for name, by in self.offsets}
        texts = {self.held: str(int(value)) if self.whole else state.text_of(float(value))}
        return dict(self.base) | texts | {name: state.text_of(float(other)) for name, other in others.items()}

    def here(self) -> Place:
        """Return the place of the slider's value now."""
        method = recipes.chosen_method()
        if self.held.startswith(recipes.COEFFICIENT):
            return self._place(_coefficient(self.held))
        values = {recipes.entry(method.name, item): item for item in method.hyperparameters}
        known = self.held in values
        return self._place(float(recipes.chosen_value(method.name, values[self.held])) if known else math.nan)

    def described(self) -> dict[str, Any]:
        """Return how the page finds places from the sliders' values."""
        return {"held": self.held, "axes": [self.held], "log": self.log, "offsets": dict(self.offsets)}

    def _place(self, value: float) -> Place:
        if self.log:
            return (math.log(value) if value > 0 else math.nan,)  # a number typed may lie beyond the slider
        return (value,)

    def _value(self, place: Place) -> float:
        value = math.exp(place[0]) if self.log else place[0]
        return float(round(value)) if self.whole else value


@dataclass(frozen=True)
class Plane:
    """From `base`, a recipe's entries, the coefficients `entries` take any values between the ends of their sliders."""

    base: tuple[tuple[str, str], ...]
    entries: tuple[str, str]
    whole = False

    @classmethod
    def of(cls, base: Mapping[str, str], held: str) -> Plane | None:
        """Return the plane of a pad, "pad:" and the entries of two coefficients; None where that is no pad."""
        name, _, entries = held.partition(":")
        first, _, second = entries.partition("|")
        if name != PAD or first == second or not all(each.startswith(recipes.COEFFICIENT) for each in (first, second)):
            return None
        return cls(_rest(base, first, [second]), (first, second))

    @property
    def held(self) -> str:
        """The page's name of the pad."""
        return f"{PAD}:{'|'.join(self.entries)}"

    def grid(self, *, live: bool) -> Grid:
        """Return where the models are measured: at 4 places and then 9 where each takes long, at 9 and 25 where not."""
        low, high = recipes.COEFFICIENT_RANGE
        return Grid((low, low), (high, high), (3, 5) if live else (2, 3))

    def at(self, place: Place) -> state.Texts:
        """Return the recipe's entries at a place."""
        return dict(self.base) | {name: state.text_of(value) for name, value in zip(self.entries, place, strict=True)}

    def here(self) -> Place:
        """Return the two coefficients now."""
        first, second = self.entries
        return _coefficient(first), _coefficient(second)

    def described(self) -> dict[str, Any]:
        """Return how the page finds places from the sliders' values."""
        return {"held": self.held, "axes": list(self.entries), "log": False, "offsets": {}}


def _coefficient(entry: str) -> float:
    return float(recipes.chosen_coefficient(entry.removeprefix(recipes.COEFFICIENT)))


def _rest(base: Mapping[str, str], held: str, others: object) -> tuple[tuple[str, str], ...]:
    moved = {held, *(others if isinstance(others, list | tuple) else ())}
    return tuple(sorted((name, text) for name, text in base.items() if name not in moved))


class Line:
    """The surrogates of a pair along one direction, measured in the background a point at a time."""

    def __init__(self, direction: Direction, size: int, models: int, probe: LiveProbe | None = None) -> None:
        self.direction, self._size, self._models, self._probe = direction, size, models, probe
        self.id = uuid4().hex
        self._surrogates: list[Surrogate] = []  # as many as models, as soon as the sample is there
        self._job: Job | None = None
        self._finished = False

    @property
    def points(self) -> int:
        """How many points serve to interpolate."""
        return min((surrogate.usable for surrogate in self._surrogates), default=0)

    @property
    def running(self) -> bool:
        """Whether points are being measured."""
        return self._job is not None and self._job.running

    def position_of(self, evaluator: Evaluator, pair: Pair) -> Place | None:
        """Return where on the line a pair lies that is chosen now; None where it does not."""
        place = self.direction.here()
        return place if recipes.chosen_pair(evaluator, self.direction.at(place)) == pair else None

    def start(self, key: str) -> None:
        """Go on measuring points in the background; nothing where that is done."""
        if self.running or self._finished:
            return
        evaluator = resources.evaluator(PURPOSE)
        # A probe has towers of its own: what others measure on all images need not end before.
        self._job = resources.jobs(PURPOSE if self._probe is None else PURPOSE_SLIDE).start(
            key, "Measuring along a direction", lambda job: self._work(job, evaluator)
        )

    def stop(self) -> None:
        """Stop measuring; the points so far are kept."""
        if self._job is not None:
            self._job.cancel()

    def estimates(self, place: Place, last: Comparison) -> tuple[list[Estimate], str] | None:
        """Return the surrogates' estimates of all images at a place, and what their error is; None without any."""
        found, errors, count = [], [], self.points
        if count == 0:
            return None
        for surrogate, reference in zip(self._surrogates, (last.before, last.last), strict=False):
            outcome = surrogate.outcomes(place)
            if outcome is None:
                return None
            error = surrogate.error(count)
            errors.append(error)
            found.append(
                estimate(outcome, reference, surrogate.sample.sizes).widened(
                    error.mean_accuracy, error.mean_interference, error.accuracy, error.interference
                )
            )
        return found, _said(count, found[0].n, errors)

    @property
    def rough(self) -> bool:
        """Whether interpolating is known to be worse than looking: nothing changes smoothly along this path."""
        return self.direction.whole or (
            self._finished and not self._smooth([each.error() for each in self._surrogates])
        )

    def sent(self, have: Have, last: Comparison, reference: int, base: Mapping[str, float]) -> dict[str, Any] | None:
        """Return what the page needs to slide by itself, without the points that it has; None where nothing is new.

        `last` is what was measured last, `reference` its number; `base` are the sliders' values.
        """
        count = self.points
        checked = min((len(surrogate.checks) for surrogate in self._surrogates), default=0)
        if count == 0 or self.direction.whole or have == (self.id, count, checked, reference):
            return None
        first = have[1] if have[0] == self.id and have[1] <= count else 0
        sample, tasks = self._surrogates[0].sample, list(next(iter(self._surrogates[0].points.values())))
        errors = [surrogate.error(count) for surrogate in self._surrogates]
        references = (last.before, last.last)[: self._models]
        return {
            "id": self.id,
            **self.direction.described(),
            "base": dict(base),
            "reference": reference,
            "checked": checked,
            "first": first,
            "constants": None if first else sliding.constants(sample, tasks),
            "nodes": [sliding.points(surrogate, first, count) for surrogate in self._surrogates],
            "corrections": [sliding.correction(reference, sample, tasks) for reference in references],
            "errors": [
                {
                    "accuracy": {"mean": error.mean_accuracy, "tasks": error.accuracy},
                    "interference": {"mean": error.mean_interference, "tasks": error.interference},
                }
                for error in errors
            ],
            "smooth": self._smooth(errors),
            "says": _said(count, sum(len(sample.rows[task]) for task in tasks), errors),
        }

    def _smooth(self, errors: list[Error]) -> bool:
        """Whether interpolating serves; where nothing can be looked at in time there is nothing better."""
        return self._probe is None or all(
            each.mean_accuracy <= SMOOTH[0] and each.mean_interference <= SMOOTH[1] for each in errors
        )

    def _work(self, job: Job, evaluator: Evaluator) -> None:
        way, live = self.direction, self._probe is not None
        grid = way.grid(live=live)
        first = len(grid.levels[0]) + len(grid.checks[0])
        alive = Counter(job.progress, first).alive
        if not self._surrogates:
            sample = self._probe.sample if self._probe is not None else Sample.of(evaluator, self._size, alive)
            self._surrogates = [Surrogate(sample, grid) for _ in range(self._models)]

        def measure(place: Place) -> list[Features]:
            pair = recipes.chosen_pair(evaluator, way.at(place))
            if self._probe is not None:
                return self._probe.features(pair.all)
            sections = evaluator.sections(pair.all[0].tasks)
            requests = [Request(evaluator.model(recipe), sections, self._size) for recipe in pair.all]
            return list(evaluator.measurement.features(requests, alive))

        for number in fill(self._surrogates, measure):
            job.progress(number, first)
        self._finished = True


def _said(points: int, images: int, errors: list[Error]) -> str:
    accuracy = max(error.mean_accuracy for error in errors)
    nats = max(error.mean_interference for error in errors)
    return (
        f"Estimate, interpolated between {points} measured settings on {images} images. At settings in "
        f"between, the estimate was off by at most {100 * accuracy:.1f} points of mean accuracy and {nats:.3f} nats; "
        "the whiskers include this."
    )
