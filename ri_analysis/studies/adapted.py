"""What the studies share that run RI themselves: runs in several settings, and what merging makes of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ri_analysis.engine.evaluation import paired_change
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.points import Adaptation, Outcome, Point
from ri_analysis.errors import InputError
from ri_analysis.figures import words
from ri_analysis.hyperparameters import Hyperparameter, Value
from ri_analysis.merging import METHODS
from ri_analysis.resolving import default_settings
from ri_analysis.studies.study import Part, Rounds, measured, method_names

METHODS_SETTING = Hyperparameter("methods", "methods, separated by commas", "task-arithmetic,tsv-m,iso-c")
STEPS = Hyperparameter("steps", "RI steps an expert: fewer than for a set that is to be kept", 100, 1, 1_000_000)


@dataclass(frozen=True)
class Variant:
    """One way to run RI; `columns` say in the table which. None as `run` merges the original experts."""

    columns: dict[str, object]
    tasks: tuple[str, ...]
    run: Adaptation | None


def run_of(evaluator: Evaluator, settings: Mapping[str, Value], *, seed: int = 0, **changed: object) -> Adaptation:
    """Return an RI run on the suite's usual source for all tasks, with `changed` fields or RI settings."""
    fields = {name: changed.pop(name) for name in ("auxiliary", "tasks") if name in changed}
    values = {"steps": int(settings["steps"]), **changed} if "steps" in settings else changed
    usual = default_settings(evaluator.suite)  # left out, so that equal runs of two studies, or of one, are one run
    values = {name: value for name, value in values.items() if usual[name] != value}
    return Adaptation(
        str(fields.get("auxiliary") or usual_source(evaluator)),
        tuple(fields.get("tasks") or evaluator.suite.tasks),  # type: ignore[arg-type]
        tuple(sorted(values.items())),  # type: ignore[arg-type]
        seed,
    )


def usual_source(evaluator: Evaluator) -> str:
    """Return the auxiliary source that the default RI set was made with; without one the suite's first."""
    suite, name = evaluator.suite, evaluator.suite.default_resolved
    recorded = {} if name is None else suite.record(name).get("auxiliary", {})
    sources = [item.name for item in suite.spec.auxiliary]
    if not sources:
        raise InputError(f"{suite.spec.path}: the study needs an [[auxiliary]] source, found none")
    return str(recorded["name"]) if recorded.get("name") in sources else sources[0]


def compare(evaluator: Evaluator, settings: Mapping[str, Value], variants: Sequence[Variant]) -> Rounds:
    """Run RI in every variant, merge at the default λ and measure; return one row per variant and method.

    Columns: the variant's, `method`, `title`, `stage` (before, after) and `measured`'s; rows after RI hold `gain` and
    `interference_change` against the original experts of the same tasks, paired by image, with intervals.
    """
    runs = [variant.run for variant in variants if variant.run is not None]
    sets = dict(zip(runs, (yield runs), strict=True))
    outcomes: dict[tuple[str, str, tuple[str, ...]], Outcome] = {}
    yield from _measure(evaluator, settings, {(name, tasks) for name, tasks in _asked(variants, sets)}, outcomes)
    rows = []
    for variant in variants:
        experts = "original" if variant.run is None else sets[variant.run]
        for method in method_names(settings):
            outcome, before = (outcomes[method, name, variant.tasks] for name in (experts, "original"))
            row = {**variant.columns, "method": method, "title": METHODS[method].title, "experts": experts}
            row |= {"stage": "before" if variant.run is None else "after", **measured(outcome)}
            gain = paired_change(before.correct, outcome.correct)
            less = paired_change(before.divergence, outcome.divergence)
            row |= {"gain": gain.value, "gain_low": gain.interval.low, "gain_high": gain.interval.high}
            row |= {"interference_change": less.value}
            row |= {"interference_change_low": less.interval.low, "interference_change_high": less.interval.high}
            rows.append(row)
    return pd.DataFrame(rows)


def _asked(variants: Sequence[Variant], sets: Mapping[Adaptation, str]) -> list[tuple[str, tuple[str, ...]]]:
    named = [(sets[variant.run], variant.tasks) for variant in variants if variant.run is not None]
    return [*named, *(("original", variant.tasks) for variant in variants)]


def _measure(
    evaluator: Evaluator,
    settings: Mapping[str, Value],
    asked: set[tuple[str, tuple[str, ...]]],
    outcomes: dict[tuple[str, str, tuple[str, ...]], Outcome],
) -> Part:
    keys = [(method, name, tasks) for name, tasks in sorted(asked) for method in method_names(settings)]
    points = [
        Point(evaluator.recipe(method, tasks=tasks).with_experts(name), limit=int(settings["images"]))
        for method, name, tasks in keys
    ]
    outcomes |= dict(zip(keys, (yield points), strict=True))


def gain_text(row: Mapping[Hashable, Any]) -> str:
    """Return a row's gain with its interval."""
    return f"{words.points(row['gain'])} ({words.points_range(row['gain_low'], row['gain_high'])})"


def gains(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return one row for each value of `columns`, with the gain of every method."""
    rows = []
    for values, part in table[table["stage"] == "after"].groupby(list(columns), sort=False, dropna=False):
        cells = dict(zip(columns, values, strict=True))
        cells |= {str(row["title"]): gain_text(row) for row in part.to_dict(orient="records")}
        rows.append(cells)
    return pd.DataFrame(rows)


IMAGES = Hyperparameter("images", "test images a task at each point", 256, 1, 1_000_000)
SHARED = (METHODS_SETTING, STEPS, IMAGES)
