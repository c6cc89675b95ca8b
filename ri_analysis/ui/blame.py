"""Who is to blame for whose drift, on request."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ri_analysis.engine import Evaluator
from ri_analysis.engine.blame import BLAME_LIMIT, EXACT_UP_TO, blame
from ri_analysis.figures import words
from ri_analysis.figures.matrices import Axes, before_and_after, square
from ri_analysis.merging import METHODS
from ri_analysis.progress import Progress
from ri_analysis.ui import background, frame, kept
from ri_analysis.ui.measuring import memory_key
from ri_analysis.ui.recipes import Pair

_AXES = Axes(
    "expert to blame",
    "task disturbed",
    "blame",
    "expert <b>{row}</b>, drift on task <b>{column}</b>",
    "nats",
    own="<b>{row}</b> on its own task: always merged, never to blame",
    signed=True,
)

_VIEWS = {"shapley": "Shapley value", "left_out": "left out alone"}


def blame_section(evaluator: Evaluator, pair: Pair) -> None:
    """Draw, on request, who is to blame for the drift of whom."""
    recipe, method = pair.before, METHODS[pair.before.method]
    if len(recipe.tasks) < 2 or method.experts[0] > 1:
        st.caption(f"Blame leaves experts out one by one, which needs several and a method that merges any number "
                   f"of them; {method.title} of {words.count(len(recipe.tasks), 'expert')} does not.")  # fmt: skip
        return
    exact = len(recipe.tasks) <= EXACT_UP_TO
    st.markdown(
        "Expert *i* is to blame for the drift on task *t* as far as the drift falls when *i* is left out of the merge. "
        "Several may disturb together, so the Shapley value shares it fairly: the mean over all orders in which the "
        "other experts could have joined expert *t*, at unchanged λ."
    )

    def work(background_evaluator: Evaluator, progress: Progress) -> list[pd.DataFrame]:
        count = len(pair.recipes)
        return [
            blame(background_evaluator, recipe, progress=background.parts(progress, place, count))
            for place, recipe in enumerate(pair.recipes)
        ]

    key = ("blame", *(memory_key("blame", evaluator, recipe, BLAME_LIMIT) for recipe in pair.recipes))
    merges = 2 ** len(recipe.tasks) - 1
    note = f"{words.count(merges, 'merge')} of each set" if exact else "Sampled orders, with a standard error"
    note += f", measured on {words.count(BLAME_LIMIT, 'image')} a task."
    tables = background.on_request(key, "Find who is to blame", "Finding who is to blame", work, note)
    if tables is not None:
        _draw_blame(pair, tables)


@st.fragment
def _draw_blame(pair: Pair, tables: list[pd.DataFrame]) -> None:
    column = kept.titled(st.segmented_control, "Blame by", "interference.blame", _VIEWS, required=True)
    shown = [square(table, column) for table in tables]
    ends = [(square(table, f"{column}_low"), square(table, f"{column}_high")) for table in tables]
    chart = before_and_after(shown[0], shown[1] if len(shown) > 1 else None, _AXES, ends, dark=frame.dark())
    first = tables[0]
    error = "exact" if first["exact"].all() else f"standard error at most {first['standard_error'].max():.3f} nats"
    n = f"{words.count(int(first['n'].max()), 'image')} a task; Shapley values {error}; intervals over images on hover."
    how = (
        "Each column shares out one task's drift: vermillion experts add to it, blue ones lessen it. "
        "Both matrices share one scale."
    )
    frame.figure(chart, how, pair.stacked(tables), n, "blame")
    worst = first.sort_values(column, ascending=False).iloc[0]
    share = f", {words.percent(worst['share'], 0)} of what the other experts cause there" if column == "shapley" else ""
    st.markdown(
        f"Before RI the largest single blame is **{worst['expert']}**'s on **{worst['task']}**: "
        f"{words.nats(worst[column])}{share}."
    )
