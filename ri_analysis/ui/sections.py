"""Parts of pages that more than one page shows."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ri_analysis import figures
from ri_analysis.engine import Comparison, Evaluator
from ri_analysis.figures import reading, words
from ri_analysis.ui import frame, kept
from ri_analysis.ui.recipes import Pair


def by_task(comparison: Comparison, *, stacked: bool = False) -> None:
    """Draw accuracy and interference per task, side by side or one below the other."""
    stage = "" if comparison.before.full else "-probe"
    before, after = comparison.before.table, comparison.after_table
    n = reading.resting_on(comparison.n, len(before), comparison.before.full)
    left, right = (st.container(), st.container()) if stacked else st.columns(2, gap="medium")
    with left:
        st.markdown("**Accuracy per task**")
        chart = figures.accuracy_by_task(before, after, dark=frame.dark())
        frame.figure(chart, reading.ACCURACY_BY_TASK, comparison.table(), n, f"accuracy-by-task{stage}")
    with right:
        st.markdown("**Interference per task**")
        chart = figures.interference_by_task(before, after, dark=frame.dark())
        frame.figure(chart, reading.INTERFERENCE_BY_TASK, comparison.table(), n, f"interference-by-task{stage}")


def no_resolved_yet(pair: Pair) -> None:
    """Point to the Resolve page where there is nothing to compare with yet."""
    if pair.after is None:
        st.info("This suite has no RI-adapted experts yet, so there is only “before”. Make a set on the Resolve page.")
        st.page_link("pages/resolve.py", label="Go to Resolve", icon=":material/arrow_forward:")


def subset_note(evaluator: Evaluator, pair: Pair) -> None:
    """Say what merging a subset means for RI."""
    if pair.after is not None and len(pair.after.tasks) < len(evaluator.suite.set_tasks(pair.after.experts)):
        st.caption(
            f"The experts of {pair.after.experts} were adapted to be merged with all of their set; "
            "for a subset, RI could free them from fewer heads."
        )


_NORMALISED = "accuracy.view"
_VIEWS = {"absolute": "absolute", "normalised": "normalised"}


def normalised_switch() -> bool:
    """Draw the choice between absolute and normalised accuracy; return whether the latter is chosen."""
    view = kept.titled(
        st.segmented_control,
        "Accuracy is shown",
        _NORMALISED,
        _VIEWS,
        required=True,
        help="Absolute: the share of test images that is right. Normalised: that share divided by the expert's.",
    )
    return view == "normalised"


def accuracy_help(normalised: bool) -> str:
    """Return how to read the accuracy bars."""
    if normalised:
        return (
            "Normalised: each bar is a model's accuracy divided by the expert's on the same task, so the line at "
            "100% is the expert; intervals are the model's own, divided likewise."
        )
    return "Absolute: each bar is the share of a task's test images that a model gets right."


def accuracy_table(comparison: Comparison) -> pd.DataFrame:
    """Return one row per task with every model's accuracy and interval, absolute and normalised."""
    before, after = comparison.before.table, comparison.after_table
    table = before[["task", "n"]].copy()
    for name, source, column in (
        ("zero_shot", before, "zero_shot_accuracy"),
        ("expert", before, "expert_accuracy"),
        ("before", before, "accuracy"),
        ("after", after, "accuracy"),
    ):
        if source is not None:
            for part in ("", "_low", "_high"):
                table[name + part] = source[column + part]
    table["before_normalised"] = before["normalised_accuracy"]
    if after is not None:
        table["after_normalised"] = after["normalised_accuracy"]
    return table


_TITLES = {"zero_shot": "zero-shot", "expert": "expert", "before": "merged before RI", "after": "merged after RI"}


def accuracy_dataframe(table: pd.DataFrame, normalised: bool, key: str) -> None:
    """Draw the table with intervals, on the scale of the bars: the CSV has every column."""
    shown = pd.DataFrame({"task": table["task"], "images": table["n"]})
    whole = table["expert"] if normalised else 1.0
    for name, title in _TITLES.items():
        if name in table:
            columns = (table[name + part] / whole for part in ("", "_low", "_high"))
            shown[title] = [
                f"{words.percent(value)} ({words.percent_range(low, high)})"
                for value, low, high in zip(*columns, strict=True)
            ]
    st.dataframe(shown, hide_index=True, key=key)
