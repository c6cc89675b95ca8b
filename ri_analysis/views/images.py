"""Which images drift, flip, and into what: distribution, classes, thumbnails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from ri_analysis.analyses import Answer
from ri_analysis.analyses.drift import Drift
from ri_analysis.analyses.flips import ANALYSIS as FLIPS
from ri_analysis.analyses.flips import OTHERS
from ri_analysis.analyses.images import ANALYSIS as IMAGES
from ri_analysis.analyses.images import ranked_by
from ri_analysis.engine import Evaluator
from ri_analysis.figures import words
from ri_analysis.figures.matrices import with_points
from ri_analysis.measures.distances import DISTANCES
from ri_analysis.measures.drift import GAINED, LOST
from ri_analysis.sides import BEFORE, STAGES
from ri_analysis.ui import analysis, closely, frame, gallery, headings, kept, state, terms
from ri_analysis.ui.recipes import TASKS, Pair

_SHOWN, _CLASS, _EXPERT, _SAYS, _MERGED = (
    state.entry(f"interference.{name}") for name in ("images", "class", "expert", "says", "merged")
)
state.entry("interference.rows")  # an option of an analysis that stands on no page of its own
_EVERY = "every class"
_STAGES = {stage: f"{stage} RI" for stage in STAGES}
SHOWN = {
    LOST: "lost (expert right, merged wrong)",
    GAINED: "gained (expert wrong, merged right)",
    "drift": "largest drift, whatever is predicted",
}


@st.fragment
def images_section(evaluator: Evaluator, drift: Answer[Drift]) -> None:
    """Draw a task's drift histogram, its classes, and its flips and most-drifting images, given the drift."""
    headings.header(IMAGES.title)
    if drift.options["distance"] == "disagreement":
        st.caption("Disagreement is yes or no for one image, so images are ranked by KL divergence here.")
    left, middle, right = st.columns([2, 3, 2])
    task = kept.first_of(left.selectbox, "Task", TASKS, drift.tasks)
    shown = kept.titled(middle.selectbox, "Show", _SHOWN, SHOWN)
    found = replace(drift, analysis=IMAGES.name, options=IMAGES.settled(drift.tasks, {**drift.options, "task": task}))
    (name, chart), (table,) = *IMAGES.charts(found, frame.dark()).items(), IMAGES.tables(found).values()
    stage = _stage(found, right)
    classes = class_table(table, stage)
    histogram, listing = st.columns([3, 2], gap="medium")
    with histogram:
        frame.chart(chart, table, name, found)
    with listing:
        _classes(classes, task, stage)
    _flips(found)
    chosen = pick(table, shown, stage, _wanted(found, classes, stage))
    _thumbnails(evaluator, found.recipes, chosen, stage, DISTANCES[ranked_by(found)].unit)


def _flips(images: Answer[Drift]) -> None:
    """Draw which classes turn into which; a click on a cell shows its images."""
    st.markdown(f"**{FLIPS.title}**")
    rows = analysis.pick("interference", FLIPS.options[-1])
    options = FLIPS.settled(images.tasks, {"task": images.options["task"], "rows": rows})
    found = replace(images, analysis=FLIPS.name, options=options)
    terms.prose(FLIPS.says(found))
    (name, chart), (table,) = *FLIPS.charts(found, frame.dark()).items(), FLIPS.tables(found).values()
    chart = replace(chart, figure=with_points(chart.figure))
    first = _EXPERT if rows == "expert" else _CLASS
    frame.chart(chart, table, name, found, frame.Click("Click a cell to see its images.", partial(_take, first)))


def _take(first: str, point: dict[str, Any]) -> None:
    """Callback: show the images of the clicked cell, whatever their drift."""
    data = point["customdata"]
    names = list(data.values() if isinstance(data, dict) else data)
    for entry in (_CLASS, _EXPERT):
        state.take(entry, None)
    state.take(_SHOWN, "drift")
    for entry, name in zip((first, _SAYS), names, strict=True):
        state.take(entry, None if name == OTHERS else name)


def _wanted(found: Answer[Drift], classes: pd.DataFrame, stage: str) -> dict[str, str]:
    """Draw the choice of classes; return the columns of the images' table in which a class is asked for."""
    names = list(found.results.before.classes[str(found.options["task"])])
    places = st.columns(3)
    wanted = {
        "class": kept.one_of(
            places[0].selectbox,
            "Class",
            _CLASS,
            [_EVERY, *classes["class"]],
            _EVERY,
            format_func=lambda one: _class_label(one, classes),
        )
    }
    for place, column, label, entry in (
        (places[1], "expert_says", "The expert predicts", _EXPERT),
        (places[2], f"{stage}_says", f"Merged {stage} RI predicts", _SAYS),
    ):
        wanted[column] = kept.one_of(place.selectbox, label, entry, [_EVERY, *names], _EVERY)
    return {column: name for column, name in wanted.items() if name != _EVERY}


def class_table(table: pd.DataFrame, stage: str) -> pd.DataFrame:
    """Return one row per class, most lost first: `class`, `n`, `lost`, `gained`, mean `drift`."""
    grouped = table.groupby("class", sort=False)
    found = pd.DataFrame(
        {
            "n": grouped.size(),
            "lost": grouped[f"{stage}_outcome"].apply(lambda each: int((each == LOST).sum())),
            "gained": grouped[f"{stage}_outcome"].apply(lambda each: int((each == GAINED).sum())),
            "drift": grouped[f"{stage}_drift"].mean(),
        }
    ).reset_index()
    return found.sort_values(["lost", "drift"], ascending=False, ignore_index=True)


def pick(table: pd.DataFrame, shown: str, stage: str, wanted: Mapping[str, str]) -> pd.DataFrame:
    """Return the images asked for, those that drift most first; `wanted` are classes by the column they stand in."""
    for column, name in wanted.items():
        table = table[table[column] == name]
    if shown in (LOST, GAINED):
        table = table[table[f"{stage}_outcome"] == shown]
    return table.sort_values(f"{stage}_drift", ascending=False, ignore_index=True)


def _stage(found: Answer[Drift], place: st.delta_generator.DeltaGenerator) -> str:
    if found.results.after is None:
        return BEFORE
    return kept.titled(place.segmented_control, "Merged", _MERGED, _STAGES, required=True)


def _classes(classes: pd.DataFrame, task: str, stage: str) -> None:
    st.dataframe(
        classes,
        hide_index=True,
        height=250,
        key=f"images.classes.{task}.{stage}",
        column_config={"drift": st.column_config.NumberColumn("mean drift", format="%.3g")},
    )
    lost, gained = int(classes["lost"].sum()), int(classes["gained"].sum())
    st.caption(
        f"Merged {stage} RI: {words.count(lost, 'image')} lost (expert right, merged wrong), {gained:,} gained (expert "
        "wrong, merged right). Classes with the most losses first."
    )


def _class_label(name: str, classes: pd.DataFrame) -> str:
    if name == _EVERY:
        return f"{_EVERY} ({len(classes)})"
    row = classes[classes["class"] == name].iloc[0]
    return f"{name} (lost {row['lost']}, gained {row['gained']})"


def _thumbnails(evaluator: Evaluator, recipes: Pair, chosen: pd.DataFrame, stage: str, unit: str) -> None:
    if chosen.empty:
        st.caption("No images match. Choose other classes, or show the largest drift.")
    else:
        notes = [f"drift {value:.3f} {unit}" for value in chosen[f"{stage}_drift"]]
        chosen = gallery.paged(evaluator, chosen.assign(note=notes), "images")
    closely.section(evaluator, recipes, chosen)
