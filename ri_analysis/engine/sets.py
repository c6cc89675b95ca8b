"""All expert sets of a suite side by side: how each was made, what its experts lost, and what merging them gains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis.engine.evaluation import (
    Change,
    Evaluation,
    accuracy_change,
    interference_change,
    paired_change,
)
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.measurement import Request
from ri_analysis.engine.sections import CROSSTALK
from ri_analysis.intervals import Interval
from ri_analysis.measures import mean_accuracy
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Parts, Progress
from ri_analysis.resolving import Record, identity, record_of
from ri_analysis.suite import ORIGINAL

Values = dict[str, npt.NDArray[Any]]
CROSSTALK_IMAGES = 128  # of each task: as the crosstalk analysis measures it, so that its answers are found
_NONE = Change(float("nan"), Interval(float("nan"), float("nan")))


def compare_sets(
    evaluator: Evaluator, recipe: MergeRecipe, limit: int | None = None, progress: Progress | None = None
) -> pd.DataFrame:
    """Return one row for each expert set that has an expert of the recipe's tasks, the original one first.

    Columns: `experts` (its name), `tasks` (how many), `auxiliary`, `settings` (those that are not the same in all
    sets), `made` (UTC, empty where that was not noted), `seconds`; then, each with `_low` and `_high`, on test images:
    `own_accuracy` (mean over tasks of each expert's accuracy on its own), `crosstalk` (mean in nats by which an expert
    moves another task's outputs from the pretrained model's, at most 128 images a task), `accuracy` and `interference`
    of the merge by `recipe`; the change of each from the original experts of the same tasks, images paired, as
    `…_change`; and `n`, the test images. NaN where there is nothing to compare with.
    """
    names = [name for name in sets_to_compare(evaluator) if _tasks(evaluator, recipe, name)]
    records: list[Record] = [{} if name == ORIGINAL else record_of(evaluator.suite, name) for name in names]
    parts = Parts(progress, len(names))
    rows = []
    for place, (name, record, settings) in enumerate(zip(names, records, _differing(records), strict=True)):
        progress, asked = parts.part(place), _of_set(evaluator, recipe, name)
        one = _measured(evaluator, asked, limit, progress)
        before = one if name == ORIGINAL else _measured(evaluator, asked.with_experts(ORIGINAL), limit, progress)
        row: dict[str, Any] = {
            "experts": name,
            "tasks": len(asked.tasks),
            "auxiliary": record.get("auxiliary", {}).get("name", ""),
            "settings": settings,
            "made": record.get("made", ""),
            "seconds": float(record.get("seconds", float("nan"))),
        }
        rows.append(row | _columns(one, before) | {"n": one[0].n})
    return pd.DataFrame(rows)


def sets_to_compare(evaluator: Evaluator) -> tuple[str, ...]:
    """Return the names of the original experts and of every RI-adapted set, shipped and made."""
    return (ORIGINAL, *(item.name for item in evaluator.suite.resolved))


def sets_kept(evaluator: Evaluator, recipe: MergeRecipe, limit: int | None = None) -> bool:
    """Whether `compare_sets` would encode nothing."""
    for name in sets_to_compare(evaluator):
        if _tasks(evaluator, recipe, name):
            asked = _of_set(evaluator, recipe, name)
            for each in (asked, asked.with_experts(ORIGINAL)):
                if not evaluator.statistics_kept(each) or not evaluator.known(_requests(evaluator, each, limit)):
                    return False
    return True


def _of_set(evaluator: Evaluator, recipe: MergeRecipe, name: str) -> MergeRecipe:
    return recipe.of_tasks(_tasks(evaluator, recipe, name)).with_experts(name)


def _tasks(evaluator: Evaluator, recipe: MergeRecipe, name: str) -> tuple[str, ...]:
    known = evaluator.suite.set_tasks(name)
    return tuple(task for task in recipe.tasks if task in known)


def _requests(evaluator: Evaluator, recipe: MergeRecipe, limit: int | None) -> list[Request]:
    return [*evaluator.requests(recipe, limit), *_own(evaluator, recipe, limit), *_crosstalk(evaluator, recipe, limit)]


def _own(evaluator: Evaluator, recipe: MergeRecipe, limit: int | None) -> list[Request]:
    parts = evaluator.sections(recipe.tasks)
    return [Request(evaluator.expert(part.name, recipe.experts), (part,), limit, keep_features=True) for part in parts]


def _crosstalk(evaluator: Evaluator, recipe: MergeRecipe, limit: int | None) -> list[Request]:
    most = CROSSTALK_IMAGES if limit is None else min(limit, CROSSTALK_IMAGES)
    parts = evaluator.sections(recipe.tasks, CROSSTALK)
    return [Request(evaluator.expert(task, recipe.experts), parts, most) for task in recipe.tasks]


def _measured(
    evaluator: Evaluator, asked: MergeRecipe, limit: int | None, progress: Progress | None
) -> tuple[Evaluation, Values, Values]:
    """Return the merge of a set, whether each expert is right on its own images, and its crosstalk, image by image."""
    merged = evaluator.measure(asked, limit=limit, progress=progress)
    own = evaluator.measurement.outcomes(_own(evaluator, asked, limit), progress)
    others = evaluator.measurement.outcomes(_crosstalk(evaluator, asked, limit), progress)
    right: Values = {task: found.correct[task] for task, found in zip(asked.tasks, own, strict=True)}
    moved: Values = {
        f"{expert} on {task}": found.divergence[task]
        for expert, found in zip(asked.tasks, others, strict=True)
        for task in asked.tasks
        if task != expert
    }
    return merged, right, moved


def _columns(one: tuple[Evaluation, Values, Values], before: tuple[Evaluation, Values, Values]) -> dict[str, float]:
    (merged, right, moved), (merged_before, right_before, moved_before) = one, before
    zero = {key: np.zeros(len(values)) for key, values in moved.items()}
    columns = {
        "own_accuracy": mean_accuracy(right),
        "own_accuracy_change": paired_change(right_before, right),
        "crosstalk": paired_change(zero, moved) if moved else _NONE,
        "crosstalk_change": paired_change(moved_before, moved) if moved else _NONE,
        "accuracy": merged.mean_accuracy,
        "accuracy_change": accuracy_change(merged_before, merged),
        "interference": merged.mean_interference,
        "interference_change": interference_change(merged_before, merged),
    }
    found: dict[str, float] = {}
    for name, value in columns.items():
        middle, (low, high) = _NONE if one is before and name.endswith("_change") else value
        found |= {name: middle, f"{name}_low": low, f"{name}_high": high}
    return found


def _differing(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the settings of each set that are not the same in all of those whose making is recorded."""
    known = [identity(record["settings"]) for record in records if record.get("settings")]
    same = {name for name in known[0] if all(one.get(name) == known[0][name] for one in known)} if known else set()
    settings = [identity(record.get("settings", {})) for record in records]
    return [{name: value for name, value in one.items() if name not in same} for one in settings]
