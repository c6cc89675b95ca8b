"""The Figures page: the tray's figures with their words, printed size, order and files."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ri_analysis.analyses import find_analysis
from ri_analysis.export import browser, formats, glyphs, paper, standard, venues
from ri_analysis.export.snapshot import Snapshot
from ri_analysis.figures import look, words
from ri_analysis.ui import frame, kept, limited, recipes, resources, tray
from ri_analysis.ui.asking import Question

_OWN = "another width"
_CAMERA = ("svg", "png")  # what the reader's own browser can write
# What the camera writes is shown without the page's fonts: text measured in another one would be cut off.
_FOUND_ANYWHERE = "Arial, Helvetica, sans-serif"
_LENGTHS = (1.0, 20.0)  # inches


def section() -> None:
    """Draw the tray: every figure with its words, size, place and downloads, and all of them as one file."""
    held = tray.pinned()
    if not held:
        st.info(
            "No figure is pinned yet. Press **Pin** below any figure to keep it here as it is.", icon=":material/keep:"
        )
    _standard_button()
    if not held:
        return
    problem = browser.missing()
    camera = "svg"
    if problem:
        st.warning(problem[0].upper() + problem[1:], icon=":material/warning:")
        camera = kept.one_of(
            st.segmented_control, "The camera writes", "figures.camera", _CAMERA, camera, format_func=str.upper
        )
    snapshots = [item.snapshot for item in held]
    left, right = st.columns(2)
    evaluator = resources.evaluator()
    left.download_button(
        "Report (one HTML page, works offline)",
        partial(standard.written, evaluator, snapshots),
        f"{evaluator.suite.name}-report.html",
        "text/html",
        key="tray.report",
        icon=":material/article:",
        on_click="ignore",
        width="stretch",
    )
    right.download_button(
        "All figures in all formats (zip)",
        partial(formats.archive, snapshots),
        "figures.zip",
        "application/zip",
        key="tray.zip",
        icon=":material/folder_zip:",
        on_click="ignore",
        width="stretch",
    )
    st.caption(f"{words.count(len(held), 'figure')}, kept until this browser tab is closed.")
    for place, item in enumerate(held):
        with st.container(border=True, key=f"tray.{item.number}"):
            _item(place, item, camera, can_draw=problem is None)


def _standard_button() -> None:
    """Draw the button that pins the usual figures of the recipe on the left."""
    slot = st.container()
    if not st.button("Pin the usual figures of this recipe", key="tray.standard", icon=":material/playlist_add:"):
        return
    evaluator = resources.evaluator()
    pair = recipes.chosen_pair(evaluator)
    with slot:
        answers = [
            Question(evaluator, pair, each, each.settled(pair.before.tasks, {}), limit).now()
            for each, limit in ((find_analysis(name), limit) for name, limit in standard.LIMITS.items())
        ]
    for snapshot in standard.standard_set(evaluator, answers, resources.suite_name(), tray.address()):
        tray.add(snapshot)
    st.rerun()


def _item(place: int, item: tray.Pinned, camera: str, *, can_draw: bool) -> None:
    head, buttons = st.columns([5, 2], vertical_alignment="bottom")
    snapshot, key = item.snapshot, f"tray.{item.number}"
    title = head.text_input("Title", snapshot.title, key=f"{key}.title", max_chars=200)
    with buttons.container(horizontal=True, horizontal_alignment="right"):
        for icon, step in (("arrow_upward", -1), ("arrow_downward", 1)):
            st.button(
                f":material/{icon}:",
                key=f"{key}.{icon}",
                help="Move up" if step < 0 else "Move down",
                on_click=_move,
                args=(place, place + step),
                disabled=not 0 <= place + step < len(tray.pinned()),
            )
        st.button(":material/delete:", key=f"{key}.delete", help="Take out", on_click=_take_out, args=(place,))
    caption = st.text_area("Caption", snapshot.caption, key=f"{key}.caption", height="content")
    snapshot = _sized(replace(snapshot, title=title, caption=caption), key)
    tray.pinned()[place] = replace(item, snapshot=snapshot)
    sharp = formats.DPI / paper.INCH if camera == "png" else 1
    config = look.CONFIG | {"toImageButtonOptions": {"format": camera, "filename": snapshot.name, "scale": sharp}}
    shown = snapshot.printed if can_draw else go.Figure(snapshot.printed).update_layout(font_family=_FOUND_ANYWHERE)
    st.plotly_chart(shown, theme=None, width="content", config=config, key=f"{frame.kind(shown)}.{key}", alt=caption)
    st.caption(snapshot.n)
    if paper.rastered(snapshot.printed):
        st.caption(
            "SVG and PDF hold this figure's drawing as a picture made of pixels; only titles and scales are vectors."
        )
    if can_draw and (note := glyphs.about_images([snapshot.printed])):
        st.caption(frame.plain(note))
    with st.container(horizontal=True):
        for form in formats.FORMATS.values():
            st.download_button(
                form.suffix.upper(),
                partial(form.write, snapshot),
                f"{snapshot.name}.{form.suffix}",
                form.media,
                key=f"{key}.{form.suffix}",
                help=form.note,
                icon=":material/download:",
                on_click="ignore",
                disabled=form.drawn and not can_draw,
            )
    with st.expander("How this was computed"):
        for label, text in snapshot.origin.lines():
            st.markdown(f"**{label}**")
            st.code(text, language=None, wrap_lines=True)


def _sized(snapshot: Snapshot, key: str) -> Snapshot:
    """Draw the choice of printed size; return the figure at that size."""
    by_name = {width.name: width for width in venues.WIDTHS}
    known = next((width.name for width in venues.WIDTHS if width.inches == snapshot.width), _OWN)
    left, middle, right = st.columns([3, 2, 2], vertical_alignment="bottom")
    name = left.selectbox("Printed width", [*by_name, _OWN], [*by_name, _OWN].index(known), key=f"{key}.venue")
    if name == _OWN:
        width = _inches(middle, "Width (inches)", f"{key}.width", snapshot.width)
    else:
        width = by_name[name].inches
        middle.caption(f"{width:g} in. {by_name[name].source}")
    if width != snapshot.width:
        snapshot = snapshot.with_width(width)
        st.session_state[f"{key}.height"] = snapshot.height
    height = _inches(right, "Height (inches)", f"{key}.height", snapshot.height)
    return snapshot if height == snapshot.height else replace(snapshot, height=height)


def _inches(place: DeltaGenerator, label: str, key: str, value: float) -> float:
    """Draw the field for a length in print."""
    st.session_state.setdefault(key, value)
    return float(limited.number_input(place, label, *_LENGTHS, step=0.1, key=key))


def _take_out(place: int) -> None:
    del tray.pinned()[place]


def _move(place: int, other: int) -> None:
    held: list[Any] = tray.pinned()
    held[place], held[other] = held[other], held[place]
