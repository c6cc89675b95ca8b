"""Which images drift, flip, and into what: distribution, classes, thumbnails."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ri_analysis.engine import Evaluator
from ri_analysis.figures import drift as drift_figures
from ri_analysis.figures import words
from ri_analysis.measures.distances import DISTANCES
from ri_analysis.measures.drift import GAINED, LOST
from ri_analysis.ui import frame, gallery, kept
from ri_analysis.ui.drift import Drifts

_EVERY = "every class"
_SIDES = {"before": "before RI", "after": "after RI"}
SHOWN = {
    LOST: "lost: right under the expert, wrong after merging",
    GAINED: "gained: wrong under the expert, right after merging",
    "drift": "drift most, flipped or not",
}


@st.fragment
def images_section(evaluator: Evaluator, drifts: Drifts, distance: str) -> None:
    """Draw a task's drift histogram, its classes, and its flips and most-drifting images."""
    name = distance
    if distance == "disagreement":
        name = "kl"
        st.caption("Disagreement is yes or no for one image, so images are ranked by KL divergence here.")
    left, middle, right = st.columns([2, 3, 2])
    tasks = drifts.before.tasks
    task = kept.one_of(left.selectbox, "Task", "interference.task", tasks, tasks[0])
    shown = kept.titled(middle.selectbox, "Images that", "interference.images", SHOWN)
    table = image_table(drifts, name, task)
    side = _side(drifts, right)
    classes = class_table(table, side)
    histogram, listing = st.columns([3, 2], gap="medium")
    with histogram:
        _histogram(drifts, name, task, table)
    with listing:
        _classes(classes, task, side)
    wanted = kept.one_of(
        st.selectbox,
        "Class",
        "interference.class",
        [_EVERY, *classes["class"]],
        _EVERY,
        format_func=lambda one: _class_label(one, classes),
    )
    chosen = pick(table, shown, side, None if wanted == _EVERY else wanted)
    _thumbnails(evaluator, chosen, side, DISTANCES[name].unit)


def image_table(drifts: Drifts, distance: str, task: str) -> pd.DataFrame:
    """Return one row per image of a task: `task`, `index`, `class`, `expert_says`, and by side what it says, its drift
    and its outcome."""
    keys = ["task", "index", "class", "expert_says"]
    found = None
    for side, drift in (("before", drifts.before), ("after", drifts.after)):
        if drift is not None:
            images = drift.images(distance)
            part = images[images["task"] == task].rename(
                columns={"merged_says": f"{side}_says", "drift": f"{side}_drift", "outcome": f"{side}_outcome"}
            )
            found = part if found is None else found.merge(part, on=keys, validate="one_to_one")
    assert found is not None  # there is always a before
    return found


def class_table(table: pd.DataFrame, side: str) -> pd.DataFrame:
    """Return one row per class, most lost first: `class`, `n`, `lost`, `gained`, mean `drift`."""
    grouped = table.groupby("class", sort=False)
    found = pd.DataFrame(
        {
            "n": grouped.size(),
            "lost": grouped[f"{side}_outcome"].apply(lambda each: int((each == LOST).sum())),
            "gained": grouped[f"{side}_outcome"].apply(lambda each: int((each == GAINED).sum())),
            "drift": grouped[f"{side}_drift"].mean(),
        }
    ).reset_index()
    return found.sort_values(["lost", "drift"], ascending=False, ignore_index=True)


def pick(table: pd.DataFrame, shown: str, side: str, wanted: str | None) -> pd.DataFrame:
    """Return the images asked for, those that drift most first."""
    if wanted is not None:
        table = table[table["class"] == wanted]
    if shown in (LOST, GAINED):
        table = table[table[f"{side}_outcome"] == shown]
    return table.sort_values(f"{side}_drift", ascending=False, ignore_index=True)


def _side(drifts: Drifts, place: st.delta_generator.DeltaGenerator) -> str:
    if drifts.after is None:
        return "before"
    return kept.titled(place.segmented_control, "Merged", "interference.merged", _SIDES, required=True)


def _histogram(drifts: Drifts, name: str, task: str, table: pd.DataFrame) -> None:
    after = None if drifts.after is None else drifts.after.values(name)[task]
    chart = drift_figures.drift_histogram(
        drifts.before.values(name)[task], after, DISTANCES[name].unit, dark=frame.dark()
    )
    how = "Mass on the left: images answered like the expert; the last bin holds everything beyond it."
    frame.figure(chart, how, table, f"{words.count(len(table), 'image')} of {task}.", "drift-images")


def _classes(classes: pd.DataFrame, task: str, side: str) -> None:
    st.dataframe(
        classes,
        hide_index=True,
        height=250,
        key=f"images.classes.{task}.{side}",
        column_config={"drift": st.column_config.NumberColumn("mean drift", format="%.3g")},
    )
    lost, gained = int(classes["lost"].sum()), int(classes["gained"].sum())
    st.caption(
        f"Merging {side} RI lost {words.count(lost, 'image')} that the expert gets right and gained {gained:,} that it "
        "gets wrong. Classes with most losses first."
    )


def _class_label(name: str, classes: pd.DataFrame) -> str:
    if name == _EVERY:
        return f"{_EVERY} ({len(classes)})"
    row = classes[classes["class"] == name].iloc[0]
    return f"{name} (lost {row['lost']}, gained {row['gained']})"


def _thumbnails(evaluator: Evaluator, chosen: pd.DataFrame, side: str, unit: str) -> None:
    if chosen.empty:
        st.caption("There is no such image here: choose others, or those that drift most.")
        return
    notes = [f"drift {value:.3g} {unit}" for value in chosen[f"{side}_drift"]]
    gallery.paged(evaluator, chosen.assign(note=notes), "images")
