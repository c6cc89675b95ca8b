"""Paired changes per task, beside the task's name: strong where the interval excludes 0, grey where it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from ri_analysis.figures import look, words
from ri_analysis.intervals import clear

ROW = 34  # pixels of a row at least, so that two lines fit

Say = Callable[[float], str]


def under_names(names: Iterable[str], changes: pd.DataFrame | None, say: Say, *, dark: bool) -> list[str]:
    """Return the names for an axis, the change of each in words below it; `changes` is a change table of the tasks."""
    if changes is None:
        return list(names)
    shade, rows = look.shades(dark), {row["task"]: row for row in changes.to_dict(orient="records")}
    texts = []
    for name in names:
        change, low, high = (rows[name][column] for column in ("change", "change_low", "change_high"))
        colour = shade.text if clear(low, high) else shade.muted
        said = words.if_clear(say(change), low, high)
        texts.append(f'{name}<br><span style="color:{colour};font-size:11px">{said}</span>')
    return texts


def hover_lines(changes: pd.DataFrame | None, say: Say) -> dict[str, str]:
    """Return what a hover adds for each task: the change with its interval, and that there is none that is clear."""
    if changes is None:
        return {}
    return {str(row["task"]): f"<br>{in_words(row, say)}" for row in changes.to_dict(orient="records")}


def in_words(row: Mapping[Any, Any], say: Say) -> str:
    """Return a row of a change table in words: "change −0.2 nats (95% interval −0.3 to −0.1), paired"."""
    low, high = row["change_low"], row["change_high"]
    unclear = "" if clear(low, high) else f"{words.NO_CLEAR_CHANGE}: "
    return f"{unclear}change {say(row['change'])} (95% interval {say(low)} to {say(high)}), paired by image"
