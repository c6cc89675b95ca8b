"""What the studies share that run RI themselves: runs in several settings, and what merging makes of them."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pandas as pd

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.engine.sections import usual_source
from ri_analysis.errors import InputError
from ri_analysis.figures import spread
from ri_analysis.hyperparameters import Hyperparameter, Value
from ri_analysis.merging import METHODS, MergeRecipe
from ri_analysis.resolving import default_settings, record_of
from ri_analysis.studies.conducting.adaptation import Adaptation
from ri_analysis.studies.conducting.point import Point
from ri_analysis.studies.conducting.work import Work
from ri_analysis.studies.study import Rounds, before_and_after, changed, measured, method_names, methods
from ri_analysis.suite import ORIGINAL

METHODS_SETTING = methods("task-arithmetic", "tsv-m", "iso-c")
STEPS = Hyperparameter(
    "steps",
    "RI steps for each expert; by default fewer than for an expert set made to be kept",
    100,
    1,
    1_000_000,
    label="RI steps per expert",
    unit="steps",
)
RATE = Hyperparameter(
    "lr",
    "learning rate of RI; 0: that of the suite's own RI set (fewer steps need a higher rate)",
    0.0,
    0.0,
    1.0,
    step=1e-5,
    label="learning rate",
    zero="the suite's own",
)
IMAGES = Hyperparameter(
    "images",
    "test images of each task on which a merge is measured",
    256,
    1,
    1_000_000,
    label="images per task",
    unit="images",
)
SEEDS = Hyperparameter(
    "seeds",
    "runs of RI, and of methods that draw at random, with different seeds; their spread is shown",
    1,
    1,
    100,
    unit="seeds",
)
RI_SEEDS = Hyperparameter(
    "ri_seeds",
    "RI sets to compare: the suite's own, and others made the same way with other seeds; their spread is shown",
    1,
    1,
    100,
    label="seeds of RI",
    unit="seeds",
)
SHARED = (METHODS_SETTING, STEPS, RATE, IMAGES, SEEDS)


@dataclass(frozen=True)
class Variant:
    """One way to run RI, once a seed; `columns` say in the table which. Without runs it is the original experts."""

    columns: dict[str, object]
    tasks: tuple[str, ...]
    runs: tuple[Adaptation, ...] = ()


def runs_of(
    evaluator: Evaluator,
    settings: Mapping[str, Value],
    *,
    auxiliary: str | None = None,
    tasks: tuple[str, ...] | None = None,
    count: int | None = None,
    **differing: Value,
) -> tuple[Adaptation, ...]:
    """Return RI runs with each of the study's seeds, on the suite's usual source for all tasks unless said otherwise.

    `differing` are RI settings; `count` is the number of the source's images that are used.
    """
    wanted = length(settings) | differing
    usual = default_settings(evaluator.suite)  # left out, so that equal runs of two studies, or of one, are one run
    items = tuple(sorted((name, value) for name, value in wanted.items() if usual[name] != value))
    source = auxiliary or usual_source(evaluator.suite)
    seeds = range(int(settings["seeds"]))
    return tuple(Adaptation(source, tasks or evaluator.suite.tasks, items, seed, count) for seed in seeds)


def length(settings: Mapping[str, Value], times: int = 1) -> dict[str, Value]:
    """Return the settings that say how far a run of this study goes, with `times` as many steps."""
    found: dict[str, Value] = {STEPS.name: int(settings[STEPS.name]) * times} if STEPS.name in settings else {}
    return found | ({RATE.name: settings[RATE.name]} if settings.get(RATE.name) else {})


def expert_sets(
    evaluator: Evaluator, settings: Mapping[str, Value]
) -> Generator[Sequence[Work], list[Any], dict[str, list[str]]]:
    """Return the expert sets by stage: "before" RI the originals, and where the suite has an RI set those "after" it.

    These are the suite's own, and as many more as the setting `ri_seeds` asks for: runs like it with other seeds.
    Raises InputError for a set that lacks a task, and for more seeds of one whose making is not recorded.
    """
    sets, seeds = before_and_after(evaluator), int(settings[RI_SEEDS.name])
    for (name,) in sets.values():
        evaluator.recipe("averaging", experts=name, tasks=evaluator.suite.tasks)  # refuses a set that lacks a task
    if seeds == 1 or "after" not in sets:
        return sets
    [own] = sets["after"]
    record = record_of(evaluator.suite, own)
    if not {"seed", "settings"} <= set(record):
        raise InputError(f"{RI_SEEDS.name}: expected 1, found {seeds}; how the set {own!r} was made is not recorded")
    others = range(int(record["seed"]) + 1, int(record["seed"]) + seeds)
    runs = [Adaptation(usual_source(evaluator.suite), evaluator.suite.tasks, (), seed) for seed in others]
    return sets | {"after": [own, *(yield runs)]}


def compare(
    evaluator: Evaluator, settings: Mapping[str, Value], variants: Sequence[Variant], rival: Variant | None = None
) -> Rounds:
    """Run RI in every variant, merge at the default λ and measure; return one row per variant and method.

    Columns: the variant's, `method`, `title`, `stage` (before, after), `experts` (the sets' names, separated by
    commas), `measured`'s, those of `changed` against the original experts of the same tasks, and `accuracy_before`;
    with a `rival`, one of the variants, also those of `changed` against it, named `lead` and `interference_lead`.
    """
    runs = [run for variant in variants for run in variant.runs]
    sets = dict(zip(runs, (yield runs), strict=True))
    after = {
        (number, method): [
            point_of(evaluator, settings, method, variant.tasks, sets[run], run.seed) for run in variant.runs
        ]
        for number, variant in enumerate(variants)
        for method in method_names(settings)
    }
    before = {
        (method, variant.tasks): points_before(evaluator, settings, method, variant.tasks)
        for variant in variants
        for method in method_names(settings)
    }
    points = list(dict.fromkeys(point for group in (*before.values(), *after.values()) for point in group))
    outcomes: dict[Point, Outcomes] = dict(zip(points, (yield points), strict=True))
    rows = []
    for (number, method), found in after.items():
        variant = variants[number]
        originals = before[method, variant.tasks]
        old, new = ([outcomes[point] for point in group] for group in (originals, found or originals))
        row = {**variant.columns, "method": method, "title": METHODS[method].title}
        row |= {"stage": "after" if found else "before"}
        row |= {"experts": ",".join(dict.fromkeys(point.recipe.experts for point in found or originals))}
        row |= measured(*new) | changed(old, new) | {"accuracy_before": fmean(outcome.accuracy for outcome in old)}
        if rival is not None:
            best = [outcomes[point] for point in after[variants.index(rival), method]]
            row |= changed(best, new, "lead", "interference_lead") if found else {}
        rows.append(row)
    return pd.DataFrame(rows)


def point_of(
    evaluator: Evaluator, settings: Mapping[str, Value], method: str, tasks: tuple[str, ...], experts: str, seed: int
) -> Point:
    """Return a merge of an expert set at the default λ, measured on the study's images."""
    recipe: MergeRecipe = evaluator.recipe(method, tasks=tasks, seed=seed if METHODS[method].seeded else 0)
    return Point(recipe.with_experts(experts), limit=int(settings["images"]))


def points_before(
    evaluator: Evaluator, settings: Mapping[str, Value], method: str, tasks: tuple[str, ...]
) -> list[Point]:
    """Return the merge of the original experts: one, or one a seed of a method that draws at random."""
    seeds = range(int(settings["seeds"]) if METHODS[method].seeded else 1)
    return [point_of(evaluator, settings, method, tasks, ORIGINAL, seed) for seed in seeds]


def gains(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return one row for each value of `columns`, with the gain of every method."""
    rows = []
    for found, part in table[table["stage"] == "after"].groupby(list(columns), sort=False, dropna=False):
        cells = dict(zip(columns, found, strict=True))
        cells |= {str(row["title"]): spread.cell(row, "gain") for row in part.to_dict(orient="records")}
        rows.append(cells)
    return pd.DataFrame(rows)
