"""Drift of a merged model from each task's original expert: any distance, per task and per image."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis.engine.evaluator import Evaluator, Progress
from ri_analysis.engine.models import (
    Tally,
    expert_model,
    merged_model,
    missing,
    outputs,
    probe,
    probe_labels,
    probe_size,
)
from ri_analysis.measures.distances import DISTANCES, Outputs
from ri_analysis.measures.drift import drift_change_table, drift_table, outcomes
from ri_analysis.merging import MergeRecipe

Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Drift:
    """What the original experts and one merged model make of the same images, by task.

    `indices` (n,) are the images' places in their task's test set, `labels` (n,) their classes, `classes` the class
    names. `full` is False for a probe.
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
    """Compare the merge by `recipe` with each of its tasks' original experts, on a probe of `limit` images a task."""
    experts = {task: expert_model(evaluator, task) for task in recipe.tasks}
    merged = merged_model(evaluator, recipe)
    absent = missing(evaluator, merged, recipe.tasks, limit)
    absent += [task for task, model in experts.items() if missing(evaluator, model, (task,), limit)]
    tally = Tally(progress, probe_size(evaluator, absent, limit))
    found = {task: outputs(evaluator, model, (task,), limit, tally)[task] for task, model in experts.items()}
    return Drift(
        found,
        outputs(evaluator, merged, recipe.tasks, limit, tally),
        {task: probe(evaluator, task, limit)[1] for task in recipe.tasks},
        {task: probe_labels(evaluator, task, limit) for task in recipe.tasks},
        {task: evaluator.heads[task].classes for task in recipe.tasks},
        full=limit is None or all(limit >= len(evaluator.suite.task_data(task)) for task in recipe.tasks),
    )


def drift_known(evaluator: Evaluator, recipe: MergeRecipe, limit: int | None = None) -> bool:
    """Whether `measure_drift` would answer from the store alone."""
    experts = (bool(missing(evaluator, expert_model(evaluator, task), (task,), limit)) for task in recipe.tasks)
    return not missing(evaluator, merged_model(evaluator, recipe), recipe.tasks, limit) and not any(experts)
