"""Parts of pages that more than one page shows."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler

from ri_analysis.analyses import summary
from ri_analysis.analyses.accuracy import ANALYSIS as ACCURACY
from ri_analysis.analyses.accuracy import answer_of, changes, chart
from ri_analysis.engine import Comparison, Evaluator
from ri_analysis.figures import look, words
from ri_analysis.hyperparameters import Value
from ri_analysis.intervals import clear
from ri_analysis.ui import analysis, frame, headline, measuring, terms
from ri_analysis.ui.asking import Question
from ri_analysis.ui.recipes import Pair, describe


def answer(comparison: Comparison) -> None:
    """Say whether the experts disturb each other, in a sentence, three numbers and plain words."""
    st.markdown(f"### {summary.in_a_sentence(comparison)}")
    headline.numbers(comparison)
    for text in summary.in_plain_words(comparison):
        terms.prose(text)


def recipe_line(pair: Pair) -> None:
    """Say what is merged, and which expert set stands for "after RI"."""
    after = "" if pair.after is None else f"; after RI: expert set **{pair.after.experts}**"
    terms.prose(f"Recipe: {describe(pair)}{after}. Change it in the sidebar.")


def by_task(pair: Pair, comparison: Comparison) -> None:
    """Draw accuracy and interference per task, side by side."""
    found = answer_of(pair, comparison)
    tables = ACCURACY.tables(found)
    for place, name in zip(st.columns(2, gap="medium"), ("accuracy-by-task", "interference-by-task"), strict=True):
        with place:
            frame.chart(chart(found, name, frame.dark()), tables[name], name, found)


def accuracy_figure(pair: Pair, comparison: Comparison, name: str, **options: Value) -> pd.DataFrame:
    """Draw one of the figures of accuracy while measuring may go on; return its table."""
    found = answer_of(pair, comparison, **options)
    table = ACCURACY.tables(found)[name]
    stage = "" if comparison.before.full else "-probe"
    frame.chart(chart(found, name, frame.dark()), table, name + stage, found)
    return table


def no_resolved_yet(pair: Pair) -> None:
    """Point to the Resolve page where there is nothing to compare with yet."""
    if pair.after is None:
        st.info(
            "This suite has no RI-adapted experts yet, so there is nothing to compare with. Make a set on the "
            "Resolve page."
        )
        st.page_link("pages/resolve.py", label="Go to Resolve", icon=":material/arrow_forward:")


def subset_note(evaluator: Evaluator, pair: Pair) -> None:
    """Say what merging a subset means for RI."""
    if pair.after is not None and len(pair.after.tasks) < len(evaluator.suite.set_tasks(pair.after.experts)):
        st.caption(
            f"The experts in {pair.after.experts} were adapted for a merge of the whole set; "
            "for a subset, RI would have fewer heads to leave unchanged."
        )


_TITLES = {"zero_shot": "zero-shot", "expert": "expert", "before": "merged before RI", "after": "merged after RI"}


def accuracy_page(evaluator: Evaluator, pair: Pair) -> None:
    """Draw the answer and every model's accuracy per task, a first look before all images are measured."""
    said, (view,) = st.empty(), ACCURACY.options
    chosen = analysis.pick("accuracy", view)
    progress, shown = st.empty(), st.empty()
    for comparison in measuring.stages(evaluator, pair, progress):
        with said.container():
            st.markdown(f"### {summary.accuracy_in_a_sentence(comparison)}")
        with shown.container():
            table = accuracy_figure(pair, comparison, "accuracy", view=chosen)
            headline.numbers(comparison)
            stage = "" if comparison.before.full else "-probe"
            _accuracy_dataframe(table, comparison, chosen == "normalised", f"accuracy-table{stage}")
    measured_before(evaluator, pair)


def measured_before(evaluator: Evaluator, pair: Pair) -> None:
    """Say where accuracy and interference on all images came with the suite, and offer to measure them again."""
    Question(evaluator, pair, ACCURACY, ACCURACY.settled(pair.before.tasks, {})).measured_before()


def _accuracy_dataframe(table: pd.DataFrame, comparison: Comparison, normalised: bool, key: str) -> None:
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
    st.dataframe(_with_changes(shown, changes(comparison, "accuracy"), whole), hide_index=True, key=key)


def _with_changes(shown: pd.DataFrame, change: pd.DataFrame | None, whole: pd.Series | float) -> Styler | pd.DataFrame:
    """Add what RI changed: bold where the interval excludes 0, grey and "no clear change" where it does not."""
    if change is None:
        return shown
    ends = [change[name] / whole for name in ("change", "change_low", "change_high")]
    is_clear = clear(*ends[1:])
    shown["change by RI"] = [
        f"{words.if_clear(words.points(value), low, high)} ({words.points_range(low, high)})"
        for value, low, high in zip(*ends, strict=True)
    ]
    styles = ["font-weight: 600" if each else f"color: {look.shades(frame.dark()).muted}" for each in is_clear]
    return shown.style.apply(lambda _: styles, subset=["change by RI"])
