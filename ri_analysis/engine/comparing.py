"""Many recipes side by side: each one's means with intervals, and its paired difference from a baseline."""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis.engine.evaluation import Change, Evaluation
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.recipe_texts import of_record
from ri_analysis.errors import InputError
from ri_analysis.intervals import Interval, bootstrap_means
from ri_analysis.measures import accuracy_table, mean_normalised_accuracy
from ri_analysis.merging import METHODS, MergeRecipe
from ri_analysis.progress import Progress
from ri_analysis.suite import Suite

Flags = npt.NDArray[np.bool_]
_BATCH = 8  # recipes that are read together
Values = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Measured:
    """A recipe measured on all test images of its tasks.

    `numbers` are the means over its tasks with the ends of their intervals, `n` among them; `by_task` has one row a
    task, with the columns of `accuracy_table` and `interference` in nats; `correct` (n,) says by task which images are
    right.
    """

    recipe: MergeRecipe
    numbers: Mapping[str, object]
    by_task: pd.DataFrame
    correct: Mapping[str, Flags]


def summarised(recipes: Sequence[MergeRecipe], evaluations: Sequence[Evaluation]) -> list[Measured]:
    """Return what a table needs of evaluations of recipes, in their order.

    The numbers are those of `Evaluation`; evaluations on the same images are bootstrapped together.
    """
    found: dict[int, Measured] = {}
    for places in _alike([evaluation.correct for evaluation in evaluations]):
        part = [evaluations[place] for place in places]
        ends = {
            "accuracy": _ends([each.correct for each in part], part[0].seed),
            "normalised_accuracy": _ends([each.normalised for each in part], part[0].seed),
            "interference": _ends([each.divergence for each in part], part[0].seed),
        }
        for number, (place, evaluation) in enumerate(zip(places, part, strict=True)):
            own = {name: ends[name][number] for name in ends}
            found[place] = _summary(recipes[place], evaluation, own)
    return [found[place] for place in range(len(evaluations))]


def _summary(recipe: MergeRecipe, evaluation: Evaluation, ends: Mapping[str, npt.NDArray[np.float64]]) -> Measured:
    by_task = accuracy_table(evaluation.correct, evaluation.expert_correct, evaluation.zero_shot_correct)
    by_task["interference"] = [
        float(np.mean(evaluation.divergence[task], dtype=np.float64)) for task in by_task["task"]
    ]
    worst = by_task.iloc[int(by_task["accuracy"].to_numpy().argmin())]
    means = {
        "accuracy": float(np.mean([flags.mean() for flags in evaluation.correct.values()])),
        "normalised_accuracy": mean_normalised_accuracy(by_task),
        "interference": float(by_task["interference"].mean()),
    }
    numbers: dict[str, object] = {}
    for name, value in means.items():
        low, high = map(float, ends[name])
        numbers |= {name: value, f"{name}_low": low, f"{name}_high": high}
    numbers |= {
        "worst_task": str(worst["task"]),
        "worst_accuracy": float(worst["accuracy"]),
        "worst_accuracy_low": float(worst["accuracy_low"]),
        "worst_accuracy_high": float(worst["accuracy_high"]),
        "n": evaluation.n,
    }
    return Measured(recipe, numbers, by_task, evaluation.correct)


def differences(measured: Sequence[Measured], baseline: Measured) -> list[Change | None]:
    """Return each one's mean accuracy minus the baseline's, over the images of the tasks that both merge.

    The interval is that of `accuracy_change`. None for the baseline itself, and where there is no such task.
    """
    found: list[Change | None] = [None] * len(measured)
    shared = [_shared(each, baseline) if each is not baseline else {} for each in measured]
    for places in _alike(shared):
        if not shared[places[0]]:
            continue
        ends = _ends([shared[place] for place in places], 0)
        for place, (low, high) in zip(places, ends, strict=True):
            mean = float(np.mean([values.mean() for values in shared[place].values()]))
            found[place] = Change(mean, Interval(float(low), float(high)))
    return found


def _shared(one: Measured, baseline: Measured) -> dict[str, npt.NDArray[np.float64]]:
    tasks = [task for task in baseline.correct if task in one.correct]
    return {task: one.correct[task].astype(np.float64) - baseline.correct[task].astype(np.float64) for task in tasks}


def _alike(values: Sequence[Values]) -> list[list[int]]:
    """Return the places of values that are about the same images, for each such set of images."""
    found: dict[Hashable, list[int]] = {}
    for place, each in enumerate(values):
        found.setdefault(tuple((task, len(part)) for task, part in each.items()), []).append(place)
    return list(found.values())


def _ends(values: Sequence[Values], seed: int) -> npt.NDArray[np.float64]:
    """Return the ends (m, 2) of the interval of each one's mean over tasks."""
    if not values[0]:
        return np.full((len(values), 2), np.nan)
    return bootstrap_means([np.stack([each[task] for each in values]) for task in values[0]], seed=seed)


class _Name(NamedTuple):
    """What a measured recipe depends on: the weights it makes, and what they are measured in."""

    recipe: MergeRecipe
    digest: str
    number_format: str


@dataclass
class Collection:
    """Measured recipes of a suite, held in memory; several threads may share it.

    An answer's own name in the store is a digest, but its record says which merge it is about: so recipes that other
    pages, commands and studies measured are found. What belongs to weights, images or a version of before is no answer
    now, and is left out.
    """

    _held: dict[_Name, Measured] = field(default_factory=dict)
    _changes: dict[tuple[_Name, _Name], Change | None] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)
    _recorded: dict[str, MergeRecipe | None] = field(default_factory=dict)  # by the names in records
    _absent: set[_Name] = field(default_factory=set)  # recorded recipes without all their outcomes
    _seen: int = -1  # how many records there were when those were looked for

    def look(self, evaluator: Evaluator, also: Iterable[MergeRecipe] = (), seconds: float = math.inf) -> bool:
        """Hold what the store has of every recorded recipe and of `also`; return whether all was looked at in time."""
        if not evaluator.number_format_chosen:
            return True
        end, records = time.monotonic() + seconds, evaluator.store.records()
        if records != self._seen:
            self._absent, self._seen = set(), records
        wanted = [recipe for recipe in (*also, *self._of_records(evaluator)) if self._new(evaluator, recipe)]
        while wanted and time.monotonic() < end:
            part, wanted = wanted[:_BATCH], wanted[_BATCH:]
            self.read(evaluator, part)
            self._absent |= {_name(evaluator, recipe) for recipe in part if self.get(evaluator, recipe) is None}
        return not wanted

    def _of_records(self, evaluator: Evaluator) -> list[MergeRecipe]:
        for model in evaluator.store.models(evaluator.suite.name):
            if model not in self._recorded:
                self._recorded[model] = of_record(evaluator, model)
        return [recipe for recipe in dict.fromkeys(self._recorded.values()) if recipe is not None]

    def _new(self, evaluator: Evaluator, recipe: MergeRecipe) -> bool:
        try:
            name = _name(evaluator, recipe)
        except InputError:  # its expert set is there no more
            return False
        return name not in self._held and name not in self._absent

    def recipes(self, evaluator: Evaluator) -> list[MergeRecipe]:
        """Return the recipes that are held, ordered."""
        sets = evaluator.suite.expert_sets
        found = [name.recipe for name in list(self._held) if name.recipe.experts in sets]
        return ordered(evaluator.suite, (recipe for recipe in found if self.get(evaluator, recipe) is not None))

    def get(self, evaluator: Evaluator, recipe: MergeRecipe) -> Measured | None:
        """Return a recipe that was read or measured before."""
        return self._held.get(_name(evaluator, recipe)) if evaluator.number_format_chosen else None

    def read(self, evaluator: Evaluator, recipes: Iterable[MergeRecipe]) -> None:
        """Hold those recipes whose outcomes the store has."""
        new = [each for each in recipes if self.get(evaluator, each) is None and evaluator.kept(each)]
        self.measure(evaluator, new)

    def measure(self, evaluator: Evaluator, recipes: Sequence[MergeRecipe], progress: Progress | None = None) -> None:
        """Measure recipes where they are not kept, and hold them."""
        evaluations = [evaluator.measure(recipe, progress=progress) for recipe in recipes]
        for recipe, found in zip(recipes, summarised(recipes, evaluations), strict=True):
            with self._lock:
                self._held[_name(evaluator, recipe)] = found

    def changes(
        self, evaluator: Evaluator, recipes: Sequence[MergeRecipe], baseline: MergeRecipe
    ) -> dict[MergeRecipe, Change]:
        """Return the paired difference from a baseline of every recipe that has one, see `differences`."""
        start, from_ = self.get(evaluator, baseline), _name(evaluator, baseline)
        if start is None:
            return {}
        names = {recipe: _name(evaluator, recipe) for recipe in recipes}
        new = [recipe for recipe, name in names.items() if name in self._held and (name, from_) not in self._changes]
        held = [self._held[names[recipe]] for recipe in new]
        for recipe, change in zip(new, differences(held, start), strict=True):
            with self._lock:
                self._changes[names[recipe], from_] = change
        found = {recipe: self._changes.get((name, from_)) for recipe, name in names.items()}
        return {recipe: change for recipe, change in found.items() if change is not None}


def ordered(suite: Suite, recipes: Iterable[MergeRecipe]) -> list[MergeRecipe]:
    """Return recipes once each, by method, tasks, expert set and settings."""
    methods, sets = list(METHODS), suite.expert_sets

    def order(recipe: MergeRecipe) -> tuple[object, ...]:
        values = [(isinstance(value, str), value) for value in recipe.settings.values()]
        first = methods.index(recipe.method), -len(recipe.tasks), recipe.tasks
        last = recipe.coefficients, recipe.lines or (), recipe.seed
        return (*first, values, *last, sets.index(recipe.experts))

    return sorted(set(recipes), key=order)


def _name(evaluator: Evaluator, recipe: MergeRecipe) -> _Name:
    return _Name(recipe, evaluator.digest(recipe), str(evaluator.number_format))
