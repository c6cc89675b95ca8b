"""One recipe measured on one suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis.intervals import Interval, bootstrap_mean
from ri_analysis.measures import (
    accuracy_table,
    interference_table,
    mean_accuracy,
    mean_interference,
    mean_normalised_accuracy,
)

Flags = npt.NDArray[np.bool_]


class Change(NamedTuple):
    """A difference of two evaluations with its 95 % interval, images paired."""

    value: float
    interval: Interval

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0: otherwise the images do not tell the change from none."""
        return self.interval.clear


@dataclass(frozen=True)
class Evaluation:
    """Per-image outcomes of one merged model, and the tables computed from them.

    `correct`, `expert_correct`, `zero_shot_correct` (n,) bool and `divergence` (n,) nats by task, for the same images
    in the same order whatever the model, so that two evaluations can be compared image by image. `full` is False for a
    subset of the images; `number_format` is what the tower computed in.
    """

    suite: str
    recipe: dict[str, object]
    correct: dict[str, Flags]
    expert_correct: dict[str, Flags]
    zero_shot_correct: dict[str, Flags]
    divergence: dict[str, npt.NDArray[np.float32]]
    full: bool = True
    seed: int = 0
    number_format: str = "float32"

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per task: the columns of `accuracy_table` and `interference_table`."""
        accuracy = accuracy_table(self.correct, self.expert_correct, self.zero_shot_correct)
        interference = interference_table(self.divergence, self.seed).drop(columns="n")
        return accuracy.merge(interference, on="task", validate="one_to_one")

    @property
    def n(self) -> int:
        """Images measured, over all tasks."""
        return sum(len(values) for values in self.correct.values())

    @cached_property
    def mean_accuracy(self) -> tuple[float, Interval]:
        """Mean over tasks of the merged model's accuracy, with its interval."""
        return mean_accuracy(self.correct, self.seed)

    @cached_property
    def mean_expert_accuracy(self) -> tuple[float, Interval]:
        """Mean over tasks of the original experts' accuracy, each on its own task."""
        return mean_accuracy(self.expert_correct, self.seed)

    @cached_property
    def mean_zero_shot_accuracy(self) -> tuple[float, Interval]:
        """Mean over tasks of the pretrained model's accuracy."""
        return mean_accuracy(self.zero_shot_correct, self.seed)

    @cached_property
    def mean_interference(self) -> tuple[float, Interval]:
        """Mean over tasks of ξ_t in nats, with its interval."""
        return mean_interference(self.divergence, self.seed)

    @property
    def mean_normalised_accuracy(self) -> float:
        """Mean over tasks of accuracy / expert accuracy."""
        return mean_normalised_accuracy(self.table)

    @property
    def normalised_accuracy_interval(self) -> Interval:
        """The interval of `mean_normalised_accuracy`, by bootstrap; the experts' accuracies count as known."""
        values = list(self.normalised.values())
        return bootstrap_mean(values, seed=self.seed) if values else Interval(float("nan"), float("nan"))

    @cached_property
    def normalised(self) -> dict[str, npt.NDArray[np.float64]]:
        """Whether each image is right, 0 or 1, over the expert's accuracy (n,), by task with an expert ever right."""
        shares = {task: float(flags.mean()) for task, flags in self.expert_correct.items()}
        return {task: flags / shares[task] for task, flags in self.correct.items() if shares[task]}

    def summary(self) -> dict[str, Any]:
        """Return what `ri-analysis measure --json` prints."""
        return {
            "suite": self.suite,
            "recipe": self.recipe,
            **_with_ends("mean_accuracy", self.mean_accuracy),
            "mean_normalised_accuracy": self.mean_normalised_accuracy,
            **_with_ends("mean_interference", self.mean_interference),
            **_with_ends("mean_expert_accuracy", self.mean_expert_accuracy),
            **_with_ends("mean_zero_shot_accuracy", self.mean_zero_shot_accuracy),
            "number_format": self.number_format,
            "tasks": self.table.to_dict(orient="records"),
        }


def _with_ends(name: str, mean: tuple[float, Interval]) -> dict[str, float]:
    value, (low, high) = mean
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def on_tasks(evaluation: Evaluation, tasks: Sequence[str]) -> Evaluation:
    """Return what was measured on some of an evaluation's tasks."""
    return replace(
        evaluation,
        correct={task: evaluation.correct[task] for task in tasks},
        expert_correct={task: evaluation.expert_correct[task] for task in tasks},
        zero_shot_correct={task: evaluation.zero_shot_correct[task] for task in tasks},
        divergence={task: evaluation.divergence[task] for task in tasks},
    )


def accuracy_change(before: Evaluation, after: Evaluation) -> Change:
    """Return the change of mean accuracy from `before` to `after`, bootstrapped over the images both saw."""
    return paired_change(before.correct, after.correct, before.seed)


def normalised_accuracy_change(before: Evaluation, after: Evaluation) -> Change | None:
    """Return the change of mean normalised accuracy, bootstrapped likewise; None where no expert is ever right."""
    return paired_change(before.normalised, after.normalised, before.seed) if before.normalised else None


def interference_change(before: Evaluation, after: Evaluation) -> Change:
    """Return the change of mean interference in nats from `before` to `after`, bootstrapped likewise."""
    return paired_change(before.divergence, after.divergence, before.seed)


def paired_change(
    before: Mapping[str, npt.NDArray[Any]], after: Mapping[str, npt.NDArray[Any]], seed: int = 0
) -> Change:
    """Return the change of the mean over groups of each group's mean, bootstrapped over the images both saw.

    Each argument maps a group (task) to a value of each of its n images, (n,). Raises ValueError when groups differ.
    """
    differences = list(paired_differences(before, after).values())
    mean = float(np.mean([difference.mean() for difference in differences]))
    return Change(mean, bootstrap_mean(differences, seed=seed))


def paired_differences(
    before: Mapping[str, npt.NDArray[Any]], after: Mapping[str, npt.NDArray[Any]]
) -> dict[str, npt.NDArray[np.float64]]:
    """Return after − before of each image, by group; see `paired_change`."""
    if {task: len(values) for task, values in before.items()} != {task: len(values) for task, values in after.items()}:
        raise ValueError("expected the same tasks and images before and after")
    return {task: after[task].astype(np.float64) - values.astype(np.float64) for task, values in before.items()}
