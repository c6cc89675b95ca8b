"""A section of a page for any analysis: its heading, its options, its sentence, its figures."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from ri_analysis.analyses import Analysis, Answer, Option
from ri_analysis.engine import Evaluator
from ri_analysis.figures.chart import Chart
from ri_analysis.hyperparameters import Value
from ri_analysis.memory import Recent
from ri_analysis.ui import controls, frame, headings, kept, terms
from ri_analysis.ui.asking import Question, best_so_far
from ri_analysis.ui.recipes import Pair, chosen_value

_DRAWN = 128  # answers whose figures are held
_FEW = 5  # choices shown as buttons rather than in a list

Options = Mapping[str, Value]
Then = Callable[[Answer[Any]], None]


def section(evaluator: Evaluator, recipes: Pair, analysis: Analysis[Any], then: Then | None = None) -> None:
    """Draw an analysis of a merge before and after RI; `then` draws what stands below, once there is an answer."""
    headings.header(analysis.title, help=analysis.formula or None)
    terms.prose(analysis.question)
    if why := analysis.refusal(evaluator, recipes.before):
        st.caption(f"Not available for this merge: {frame.plain(why)}.")
        return
    options = choose(analysis, recipes.before.tasks, {}, measured=True)
    question = Question(evaluator, recipes, analysis, options, analysis.limits[-1])
    found = best_so_far(question)
    if found is not None:
        _draw(analysis, found, then)
        question.measured_before()


@st.fragment
def _draw(analysis: Analysis[Any], found: Answer[Any], then: Then | None) -> None:
    """Draw what depends on the other options, so that another choice of one measures and redraws nothing else."""
    found = replace(found, options=choose(analysis, found.tasks, found.options, measured=False))
    terms.prose(analysis.says(found))
    charts(analysis, found)
    if then is not None:
        then(found)


def charts(analysis: Analysis[Any], found: Answer[Any], names: tuple[str, ...] | None = None) -> None:
    """Draw an answer's figures, those called `names` where they are given; halves stand two in a row."""
    drawn, tables = _drawn(analysis, found, frame.dark())
    shown = {name: chart for name, chart in drawn.items() if names is None or name in names}
    row: list[Any] = []
    for name, chart in shown.items():
        if chart.half and not row:
            row = list(st.columns(2, gap="medium"))
        place = row.pop(0) if chart.half else st.container()
        with place:
            frame.chart(chart, tables[name], name, found)


def _drawn(analysis: Analysis[Any], found: Answer[Any], dark: bool) -> tuple[dict[str, Chart], dict[str, pd.DataFrame]]:
    """Return an answer's figures and tables: sessions that are given the same results share them."""
    # Results are known by where they lie, for as long as they are held here.
    key = (analysis.name, id(found.results), found.recipes, tuple(found.options.items()), found.limit, dark)
    held = _figures.get(key)
    if held is None:
        held = found.results, analysis.charts(found, dark), analysis.tables(found)
        _figures.put(key, held)
    return held[1:]


_figures: Recent[Hashable, tuple[Any, dict[str, Chart], dict[str, pd.DataFrame]]] = Recent(_DRAWN)


# --- options ----------------------------------------------------------------------------------------------


def choose(analysis: Analysis[Any], tasks: tuple[str, ...], chosen: Options, *, measured: bool) -> dict[str, Value]:
    """Draw the options on which the measurement depends, or the others; return `chosen` with their values."""
    values = dict(chosen)
    wanted = [option for option in analysis.options if option.measured == measured]
    places = st.columns(len(wanted)) if len(wanted) > 1 else [st.container()]
    for place, option in zip(places, wanted, strict=False):
        with place:
            values[option.name] = pick(analysis.page, option.among(tasks, values))
    return analysis.settled(tasks, values)


def pick(page: str, option: Option) -> Value:
    """Draw the widget of an option on the page on which its value is kept; return the value."""
    address = option.address or option.name
    if not option.choices:
        item = replace(option, name=address)
        controls.hyperparameter_controls(page, [item])
        return chosen_value(page, item)
    few = len(option.choices) <= _FEW and option.task is None
    draw: Any = partial(st.segmented_control, required=True) if few else st.selectbox
    default = str(option.default)
    value = kept.one_of(
        draw, option.heading, f"{page}.{address}", list(option.choices), default, format_func=option.titled.__getitem__
    )
    if option.notes:
        st.caption(dict(zip(option.choices, option.notes, strict=True))[value])
    return value
