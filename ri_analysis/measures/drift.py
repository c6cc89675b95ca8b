"""Drift per task from per-image distances, before against after, and what became of each image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis.intervals import Interval, bootstrap_mean, wilson

Values = npt.NDArray[np.floating]
Classes = npt.NDArray[np.integer]

# What became of an image: right under both, right under the expert only, under the merged model only, or under none.
KEPT, LOST, GAINED, MOVED, WRONG = "kept", "lost", "gained", "moved", "wrong"


def drift_table(values: Mapping[str, Values], *, shares: bool = False, seed: int = 0) -> pd.DataFrame:
    """Return the mean distance per task with its interval.

    `values` maps a task to the distances (n,) of its images; `shares` says that they are 0 or 1, which gets Wilson's
    interval instead of the bootstrap. Columns: `task`, `drift`, `drift_low`, `drift_high`, `n`.
    """
    rows = []
    for task, each in values.items():
        low, high = _interval(each, shares, seed)
        row = {"task": task, "drift": _mean(each), "drift_low": low, "drift_high": high, "n": len(each)}
        rows.append(row)
    return pd.DataFrame(rows)


def drift_change_table(before: Mapping[str, Values], after: Mapping[str, Values], *, seed: int = 0) -> pd.DataFrame:
    """Return the paired change of the mean distance per task: the same images, bootstrap over their differences.

    Columns: `task`, `change` (after − before), `change_low`, `change_high`, `n`. Raises ValueError when the images
    differ in number.
    """
    rows = []
    for task, first in before.items():
        if len(first) != len(after[task]):
            raise ValueError(f"expected the same images of {task!r}, found {len(first)} and {len(after[task])}")
        difference = np.asarray(after[task], np.float64) - np.asarray(first, np.float64)
        low, high = bootstrap_mean([difference], seed=seed)
        row = {"task": task, "change": _mean(difference), "change_low": low, "change_high": high}
        rows.append(row | {"n": len(first)})
    return pd.DataFrame(rows)


def outcomes(labels: Classes, expert: Classes, merged: Classes) -> npt.NDArray[np.str_]:
    """Return what became of each image (n,) under the merged model.

    "kept" right both times; "lost" right under the expert only; "gained" right under the merged model only; "moved"
    wrong both times with different classes; "wrong" wrong both times with the same class.
    """
    right, still = expert == labels, merged == labels
    return np.select(
        [right & still, right & ~still, ~right & still, expert != merged], [KEPT, LOST, GAINED, MOVED], WRONG
    )


def _interval(values: Values, shares: bool, seed: int) -> Interval:
    return wilson(int(values.sum()), len(values)) if shares else bootstrap_mean([values], seed=seed)


def _mean(values: Values) -> float:
    return float(np.mean(values, dtype=np.float64))
