"""Which setting matters: the share of the variance of a measured value that each setting alone explains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

FEWEST = 8  # points
A_LEVEL = 2.0  # points for each level, on average
MOST_LEVELS = 6  # a setting with more values is split into as many groups of equal size, as far as can be


def explained(table: pd.DataFrame, settings: list[str], value: str) -> pd.DataFrame:
    """Return one row for each of the columns `settings` that varies: how much of column `value`'s variance it explains.

    The share is first-order: variance between the setting's levels over all variance, less what chance alone gives
    (ε², Kelley 1935), at least 0. Columns: `setting`, `share` in [0, 1], `levels`, `n`; the share is NaN where there
    are fewer than 8 points or 2 for each level. Shares add up to 1 at most where every value of one setting was
    measured with every value of the others; the rest is interaction. Where they were not, shares overlap.
    """
    rows = []
    for setting in settings:
        levels = _levels(table[setting])
        count = int(levels.nunique())
        if count >= 2:
            rows.append({"setting": setting, "share": _share(levels, table[value]), "levels": count, "n": len(table)})
    found = pd.DataFrame(rows, columns=["setting", "share", "levels", "n"])
    return found.sort_values("share", ascending=False, na_position="last", kind="stable").reset_index(drop=True)


def _levels(values: pd.Series[Any]) -> pd.Series[Any]:
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > MOST_LEVELS:
        return pd.qcut(values, MOST_LEVELS, labels=False, duplicates="drop")
    return values


def _share(levels: pd.Series[Any], values: pd.Series[float]) -> float:
    n, count = len(values), int(levels.nunique())
    if n < FEWEST or n < A_LEVEL * count:
        return float("nan")
    total = float(((values - values.mean()) ** 2).sum())
    if total == 0:
        return float("nan")
    means = values.groupby(levels.to_numpy()).transform("mean")
    within = float(((values - means) ** 2).sum())
    chance = (count - 1) * within / (n - count)
    return float(np.clip((total - within - chance) / total, 0.0, 1.0))
