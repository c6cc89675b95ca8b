"""The figure tray: figures of any page, kept as they were for this session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import urlencode

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from ri_analysis.analyses import Answer
from ri_analysis.export import facts
from ri_analysis.export.snapshot import Snapshot
from ri_analysis.figures import words
from ri_analysis.merging import MergeRecipe
from ri_analysis.ui import recipes, resources

_TRAY, _NUMBERS, _SAID = "ri.tray", "ri.tray.numbers", "ri.tray.said"
Source = str | Answer[Any] | Sequence[MergeRecipe] | None
"""What gives a figure's numbers: a command, an analysis's answer, or, where there is neither, the measured recipe."""
MOST, MOST_BYTES = 30, 64 * 2**20  # figures, and what they may hold in memory, per session


@dataclass(frozen=True)
class Pinned:
    """A figure in the tray, with the number that its widgets are named by."""

    number: int
    snapshot: Snapshot


def pinned() -> list[Pinned]:
    """Return the tray's figures in their order; the list is the tray itself."""
    found: list[Pinned] = st.session_state.setdefault(_TRAY, [])
    return found


def pin_button(
    chart: go.Figure, how_to_read: str, table: pd.DataFrame, n: str, name: str, source: Source = None
) -> None:
    """Draw the button that puts a figure into the tray."""
    st.button(
        "Pin",
        key=f"pin.{name}",
        type="tertiary",
        icon=":material/keep:",
        help="Keep this figure as it is on the Figures page, to save it for a paper or put it into a report",
        on_click=_pin,
        args=(chart, how_to_read, table, n, name, source),
    )
    if st.session_state.get(_SAID):  # pinned in a fragment, which alone was drawn again: the sidebar counts figures
        st.rerun()


def _pin(chart: go.Figure, how_to_read: str, table: pd.DataFrame, n: str, name: str, source: Source) -> None:
    evaluator, suite = resources.evaluator(), resources.suite_name()
    if not source:
        origin = facts.origin(evaluator, recipes.chosen_pair(evaluator), suite, address())
    elif isinstance(source, str):
        origin = facts.origin_of(evaluator, [source], address())
    elif not isinstance(source, Answer):
        origin = facts.origin(evaluator, source, suite, address())
    else:
        origin = facts.origin_of_answer(evaluator, source, suite, address())
    add(Snapshot.of(chart, table, name, how_to_read, n, origin))


def add(snapshot: Snapshot) -> None:
    """Put a figure into the tray and say so, or why not."""
    held = pinned()
    if any(item.snapshot.same_as(snapshot) for item in held):
        _say("This figure is in the tray already.", ":material/keep:")
    elif len(held) == MOST or sum(item.snapshot.bytes for item in held) + snapshot.bytes > MOST_BYTES:
        _say("The tray is full: take a figure out on the Figures page first.", ":material/warning:")
    else:
        numbers = st.session_state.setdefault(_NUMBERS, count(1))
        held.append(Pinned(next(numbers), snapshot))
        _say(f"Pinned: {words.count(len(held), 'figure')} on the Figures page.", ":material/keep:")


def _say(text: str, icon: str) -> None:
    """Have something said on the next run: a callback must draw nothing where a fragment runs alone."""
    st.session_state.setdefault(_SAID, []).append((text, icon))


def say() -> None:
    """Say what became of the figures pinned last; for the beginning of a page's run."""
    for text, icon in st.session_state.pop(_SAID, []):
        st.toast(text, icon=icon)


def address() -> str:
    """Return the link that restores the open page; empty where it is not known."""
    parameters = urlencode(st.query_params.to_dict())
    return f"{st.context.url}?{parameters}" if st.context.url and parameters else str(st.context.url or "")
