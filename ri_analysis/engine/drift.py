"""Drift of a merged model from each task's original expert: any distance, per task and per image."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.measurement import Request
from ri_analysis.engine.outcomes import labels
from ri_analysis.measures.distances import DISTANCES, Outputs
from ri_analysis.measures.drift import drift_change_table, drift_table, outcomes
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Progress

Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Drift:
    """What the original experts and one merged model make of the same images, by task.

    `indices` (n,) are the images' places in their task's test set, `labels` (n,) their classes, `classes` the class
    names. `full` is False for a subset.
    """

    expert: dict[str, Outputs]
    merged: dict[str, Outputs]
    indices: dict[str, npt.NDArray[np.int64]]
    labels: dict[str, npt.NDArray[np.int64]]
    classes: dict[str, tuple[str, ...]]
    full: bool
    _values: dict[str, dict[str, Values]] = field(default_factory=dict, repr=False)
    _tables: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks measured."""
        return tuple(self.expert)

    @property
    def n(self) -> int:
        """Images measured, over all tasks."""
        return sum(len(each) for each in self.indices.values())

    def values(self, distance: str = "kl") -> dict[str, Values]:
        """Return each image's distance, (n,) by task."""
        if distance not in self._values:
            of = DISTANCES[distance].of
            pairs = {task: (self.expert[task], self.merged[task]) for task in self.tasks}
            self._values[distance] = {task: of(*pair).numpy().astype(np.float32) for task, pair in pairs.items()}
        return self._values[distance]

    def table(self, distance: str = "kl") -> pd.DataFrame:
        """Return the mean distance per task with intervals: see `drift_table`."""
        if distance not in self._tables:
            self._tables[distance] = drift_table(self.values(distance), shares=distance == "disagreement")
        return self._tables[distance]

    def images(self, distance: str = "kl") -> pd.DataFrame:
        """Return one row per image: `task`, `index`, `class`, `expert_says`, `merged_says`, `drift`, `outcome`."""
        values = self.values(distance)
        return pd.concat([self._images(task, values[task]) for task in self.tasks], ignore_index=True)

    def _images(self, task: str, values: Values) -> pd.DataFrame:
        names, labels = np.array(self.classes[task]), self.labels[task]
        expert, merged = (side[task].predicted.numpy() for side in (self.expert, self.merged))
        return pd.DataFrame(
            {
                "task": task,
                "index": self.indices[task],
                "class": names[labels],
                "expert_says": names[expert],
                "merged_says": names[merged],
                "drift": values,
                "outcome": outcomes(labels, expert, merged),
            }
        )


def drift_change(before: Drift, after: Drift, distance: str = "kl") -> pd.DataFrame:
    """Return the paired change of the mean distance per task: see `drift_change_table`."""
    return drift_change_table(before.values(distance), after.values(distance))


def measure_drift(
    evaluator: Evaluator, recipe: MergeRecipe, *, limit: int | None = None, progress: Progress | None = None
) -> Drift:
    """Compare the merge by `recipe` with each of its tasks' original experts, on a subset of `limit` images a task."""
    sections = evaluator.sections(recipe.tasks)
    *experts, merged = evaluator.measurement.outputs(_requests(evaluator, recipe, limit), progress)
    rows = {part.name: part.rows(limit) for part in sections}
    return Drift(
        {task: found for each in experts for task, found in each.items()},
        merged,
        rows,
        {part.name: labels(part)[rows[part.name]] for part in sections},
        {task: evaluator.heads[task].classes for task in recipe.tasks},
        full=all(part.count(limit) == len(part.images) for part in sections),
    )


def drift_known(evaluator: Evaluator, recipe: MergeRecipe, limit: int | None = None) -> bool:
    """Whether `measure_drift` would encode nothing."""
    return evaluator.measurement.cost(_requests(evaluator, recipe, limit)) == 0


def _requests(evaluator: Evaluator, recipe: MergeRecipe, limit: int | None) -> list[Request]:
    sections = evaluator.sections(recipe.tasks)
    experts = [Request(evaluator.expert(part.name), (part,), limit, True) for part in sections]
    return [*experts, Request(evaluator.model(recipe), sections, limit, True)]
