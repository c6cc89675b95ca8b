"""What surrounds the content of every page: figures with their explanation, tables, errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ri_analysis.allowed import shortened
from ri_analysis.errors import InputError
from ri_analysis.export import formats
from ri_analysis.figures import look
from ri_analysis.figures.chart import Chart
from ri_analysis.memory import explained
from ri_analysis.ui import ahead, tray

_MARKS = re.compile(r"[\\`*_{}\[\]#<>$~]|[:&](?=[#A-Za-z])")  # of Markdown: `:red` and `&lt;` among them


def dark() -> bool:
    """Whether the reader's theme is dark."""
    return getattr(st.context.theme, "type", None) == "dark"


class PageEnd(Exception):
    """Raised where a page goes no further. What stands around it is still drawn, which `st.stop` would not do."""


@contextmanager
def boundary() -> Iterator[None]:
    """Show bad input as one clear message instead of a traceback."""
    try:
        with explained():
            yield
    except InputError as error:
        st.error(plain(str(error)), icon=":material/warning:")


@dataclass(frozen=True)
class Click:
    """What a click on one of a figure's points does, given the point, and the sentence that says so."""

    says: str
    take: Callable[[dict[str, Any]], None]


def chart(drawn: Chart, table: pd.DataFrame, name: str, source: tray.Source, click: Click | None = None) -> None:
    """Show a chart under its title; see `figure`."""
    if drawn.title:
        st.markdown(f"**{plain(drawn.title)}**")
    figure(drawn.figure, drawn.how_to_read, table, drawn.n, name, source, click)


def figure(
    chart: go.Figure,
    how_to_read: str,
    table: pd.DataFrame,
    n: str,
    name: str,
    source: tray.Source = None,
    click: Click | None = None,
) -> None:
    """Show a figure, one sentence on how to read it, on how many images it is based, and the table behind it.

    `name` names the downloads and must be unique on the page. `n` is empty where the sentence says it. `source` is
    what gives the numbers: an analysis's answer, a command, or by default the measured recipe. Pinned, a figure does
    not ask for a `click`.
    """
    config = look.CONFIG | {"toImageButtonOptions": {"format": "svg", "filename": f"ri-analysis-{name}"}}
    key = f"{kind(chart)}.{name}"
    listening: dict[str, Any] = {}
    if click is not None:
        listening = {"on_select": partial(_clicked, key, click), "selection_mode": "points"}
    st.plotly_chart(chart, theme=None, config=config, key=key, alt=how_to_read, **listening)
    said = [sentence(how_to_read), *([] if click is None else [click.says]), *([f"*{plain(n)}*"] if n else [])]
    with caption(" ".join(said), table, name):
        tray.pin_button(chart, how_to_read, table, n, name, source)
    ahead.give_way()


def _clicked(key: str, click: Click) -> None:
    points = st.session_state[key].selection.points
    if points:
        click.take(points[0])


def kind(chart: go.Figure) -> str:
    """Return what the key of a figure's element begins with: figures of several panels scroll sideways on a phone."""
    places = {getattr(trace, "scene", None) or getattr(trace, "xaxis", None) or "x" for trace in chart.data}
    return "figure" if len(places) < 2 else "panels.three" if len(places) > 2 else "panels"


def caption(text: str, table: pd.DataFrame, name: str, note: str = "The table behind this figure") -> DeltaGenerator:
    """Show what is to be said below a figure, and beside it the button that downloads its table as `name`.csv.

    Returns the row of that button, for others.
    """
    row = st.container(horizontal=True, gap="xsmall", key=f"below.{name}")
    row.caption(text)
    buttons = row.container(horizontal=True, gap="xsmall", width="content", key=f"buttons.{name}")
    buttons.download_button(
        "CSV",
        partial(formats.csv, table),  # made when it is asked for
        f"{name}.csv",
        "text/csv",
        key=f"csv.{name}",
        type="tertiary",
        icon=":material/download:",
        help=note,
        on_click="ignore",
    )
    return buttons


def plain(text: str) -> str:
    """Return text that Markdown shows as it is: names and paths are no marks, and paths begin at an allowed folder."""
    return _MARKS.sub(r"\\\g<0>", shortened(text)).replace("\n", "  \n")


def sentence(text: str) -> str:
    """Return a sentence of the program's for Markdown: `**` stands for bold, and all else for itself, as in `plain`.

    Names of tasks, classes and files in it are strangers'.
    """
    return "**".join(map(plain, text.split("**")))
