"""The figure tray: figures of any page, kept as they were for this session, to be named, sized, ordered and saved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from ri_analysis.export import browser, formats, venues
from ri_analysis.export.snapshot import Origin, Snapshot, now, versions
from ri_analysis.figures import look, words
from ri_analysis.ui import recipes, resources

_TRAY, _NUMBERS = "ri.tray", "ri.tray.numbers"
MOST, MOST_BYTES = 30, 64 * 2**20  # figures, and what they may hold in memory, per session
_OWN = "another width"


@dataclass(frozen=True)
class Pinned:
    """A figure in the tray, with the number that its widgets are named by."""

    number: int
    snapshot: Snapshot


def pinned() -> list[Pinned]:
    """Return the tray's figures in their order; the list is the tray itself."""
    found: list[Pinned] = st.session_state.setdefault(_TRAY, [])
    return found


def pin_button(chart: go.Figure, how_to_read: str, table: pd.DataFrame, n: str, name: str) -> None:
    """Draw the button that puts a figure into the tray."""
    st.button(
        "Pin",
        key=f"pin.{name}",
        type="tertiary",
        icon=":material/keep:",
        help="Keep this figure as it is on the Figures page, to save it for a paper or put it into a report",
        on_click=_pin,
        args=(chart, how_to_read, table, n, name),
        width="stretch",
    )


def _pin(chart: go.Figure, how_to_read: str, table: pd.DataFrame, n: str, name: str) -> None:
    title = name.removesuffix("-probe").replace("-", " ").capitalize()
    add(Snapshot.of(chart, table, name, title, how_to_read, n, origin()))


def add(snapshot: Snapshot) -> None:
    """Put a figure into the tray and say so, or why not."""
    held = pinned()
    if any(item.snapshot.json == snapshot.json for item in held):
        st.toast("This figure is in the tray already.", icon=":material/keep:")
    elif len(held) == MOST or sum(item.snapshot.bytes for item in held) + snapshot.bytes > MOST_BYTES:
        st.toast("The tray is full: take a figure out on the Figures page first.", icon="⚠️")
    else:
        numbers = st.session_state.setdefault(_NUMBERS, count(1))
        held.append(Pinned(next(numbers), snapshot))
        st.toast(f"Pinned: {words.count(len(held), 'figure')} on the Figures page.", icon=":material/keep:")


def origin() -> Origin:
    """Return where the numbers of the open page come from."""
    evaluator = resources.evaluator()
    pair = recipes.chosen_pair(evaluator)
    suite = resources.suite_name()
    return Origin(
        suite=evaluator.suite.name,
        suite_digest=evaluator.suite.digest(),
        recipes=tuple(recipe.arguments() for recipe in pair.recipes),
        commands=tuple(recipes.command(recipe, suite) for recipe in pair.recipes),
        address=str(st.context.url or ""),
        versions=versions(),
        made=now(),
    )


# --- the page -------------------------------------------------------------------------------------------------


def section() -> None:
    """Draw the tray: every figure with its words, size, place and downloads, and all of them as one file."""
    held = pinned()
    if not held:
        st.info("No figure is pinned yet. Press **Pin** below any figure: it is kept here as it is.", icon="📌")
        return
    problem = browser.missing()
    if problem:
        st.warning(problem[0].upper() + problem[1:], icon="⚠️")
    snapshots = [item.snapshot for item in held]
    left, right = st.columns([3, 2], vertical_alignment="center")
    left.caption(f"{words.count(len(held), 'figure')}, kept until this browser tab is closed.")
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
    for place, item in enumerate(held):
        with st.container(border=True, key=f"tray.{item.number}"):
            _item(place, item, can_draw=problem is None)


def _item(place: int, item: Pinned, *, can_draw: bool) -> None:
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
                disabled=not 0 <= place + step < len(pinned()),
            )
        st.button(":material/delete:", key=f"{key}.delete", help="Take out", on_click=_take_out, args=(place,))
    caption = st.text_area("Caption", snapshot.caption, key=f"{key}.caption", height="content")
    snapshot = _sized(replace(snapshot, title=title, caption=caption), key)
    pinned()[place] = replace(item, snapshot=snapshot)
    config = look.CONFIG | {"toImageButtonOptions": {"format": "svg", "filename": snapshot.name}}
    st.plotly_chart(snapshot.printed, theme=None, width="content", config=config, key=f"{key}.figure", alt=caption)
    st.caption(snapshot.n)
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
    with st.expander("How these numbers came about"):
        for label, text in snapshot.origin.lines():
            st.markdown(f"**{label}**")
            st.code(text, language=None, wrap_lines=True)


def _sized(snapshot: Snapshot, key: str) -> Snapshot:
    """Draw the choice of printed size; return the figure at that size."""
    by_name = {width.name: width for width in venues.WIDTHS}
    known = next((width.name for width in venues.WIDTHS if width.inches == snapshot.width), _OWN)
    left, middle, right = st.columns([3, 2, 2], vertical_alignment="bottom")
    name = left.selectbox("Printed width", [*by_name, _OWN], [*by_name, _OWN].index(known), key=f"{key}.venue")
    if name != _OWN and by_name[name].inches != snapshot.width:
        snapshot = snapshot.with_width(by_name[name].inches)
        st.session_state.pop(f"{key}.height", None)
    width = snapshot.width
    if name == _OWN:
        width = middle.number_input("Width (inches)", 1.5, 12.0, width, 0.05, key=f"{key}.width")
    else:
        middle.caption(f"{width:g} in. {by_name[name].source}")
    height = right.number_input("Height (inches)", 1.0, 12.0, min(12.0, snapshot.height), 0.1, key=f"{key}.height")
    return (
        snapshot
        if (width, height) == (snapshot.width, snapshot.height)
        else replace(snapshot, width=width, height=height)
    )


def _take_out(place: int) -> None:
    del pinned()[place]


def _move(place: int, other: int) -> None:
    held: list[Any] = pinned()
    held[place], held[other] = held[other], held[place]
