"""Accuracy per task, absolute and normalised by the expert's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis.intervals import Interval, bootstrap_mean, wilson

Correct = npt.NDArray[np.bool_]

SHARES = ("accuracy", "expert_accuracy", "zero_shot_accuracy")


def accuracy_table(
    merged: Mapping[str, Correct], expert: Mapping[str, Correct], zero_shot: Mapping[str, Correct]
) -> pd.DataFrame:
    """Return one row per task with accuracies and Wilson intervals.

    Each argument maps a task to which of its n images the model gets right, (n,) bool. Columns: `task`, and for each
    of `accuracy`, `expert_accuracy`, `zero_shot_accuracy` the share in [0, 1] with `_low` and `_high`;
    `normalised_accuracy` = accuracy / expert accuracy (NaN where the expert gets none right); `n`.
    """
    rows = []
    for task in merged:
        row: dict[str, object] = {"task": task}
        for name, correct in zip(SHARES, (merged[task], expert[task], zero_shot[task]), strict=True):
            low, high = wilson(int(correct.sum()), len(correct))
            row |= {name: float(correct.mean()), f"{name}_low": low, f"{name}_high": high}
        share = float(expert[task].mean())
        row["normalised_accuracy"] = float(merged[task].mean()) / share if share else float("nan")
        rows.append(row | {"n": len(merged[task])})
    return pd.DataFrame(rows)


def mean_accuracy(correct: Mapping[str, Correct], seed: int = 0) -> tuple[float, Interval]:
    """Return the mean over tasks of the accuracy, and its interval by bootstrap over each task's images."""
    values = [np.asarray(array, dtype=np.float64) for array in correct.values()]
    return float(np.mean([array.mean() for array in values])), bootstrap_mean(values, seed=seed)


def mean_normalised_accuracy(table: pd.DataFrame) -> float:
    """Return the mean over tasks of accuracy / expert accuracy."""
    return float(table["normalised_accuracy"].mean())
