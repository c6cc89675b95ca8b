"""The Studies page: any study of the suite, run on request, with its outcome beside the paper's finding."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from ri_analysis.engine import Evaluator
from ri_analysis.export import facts
from ri_analysis.figures import look, words
from ri_analysis.figures.so_far import measured_so_far
from ri_analysis.hyperparameters import Value
from ri_analysis.progress import Progress
from ri_analysis.studies import STUDIES, Study
from ri_analysis.studies.conducting.conduct import Results, conduct, plan
from ri_analysis.studies.conducting.point import Point
from ri_analysis.studies.conducting.tables import KeptTable
from ri_analysis.studies.conducting.work import Work
from ri_analysis.studies.output import REPORTED, estimate
from ri_analysis.suite import ORIGINAL
from ri_analysis.ui import background, controls, frame, kept, recipes, resources, state

CHOSEN, FIRST = state.entry("studies.name"), "methods"
_SO_FAR = "Each dot is a measured merge: further up is more accurate, further left has less interference."


def section(evaluator: Evaluator) -> None:
    """Draw the choice of a study with its settings, and its outcome, or what it will take and a button to begin."""
    name = kept.one_of(st.selectbox, "Study", CHOSEN, list(STUDIES), FIRST, format_func=lambda one: STUDIES[one].title)
    study = STUDIES[name]
    owner = f"studies.{study.name}"
    st.markdown(f"**{study.question}**")
    if study.finding:
        st.caption(f"{REPORTED} (not re-run by us): {study.finding}")
    items = study.declared(evaluator.suite, recipes.chosen_settings(owner, study.settings))
    with st.expander("Settings"):
        controls.settings_form(owner, items)
    settings = recipes.chosen_settings(owner, items)
    command = study.command(resources.suite_name(), settings)
    st.code(command, language="bash", wrap_lines=True)
    key = ("study", resources.opened(evaluator), evaluator.suite.digest(), study.name, *settings.values())
    table = _table(evaluator, study, settings, key)
    if table is not None:
        _outcome(study, table, command)
        if KeptTable.of_study(study, settings, evaluator).shipped:
            background.measured_before(study.name, key, study.title, partial(_conducted, study, settings, None))


def _table(
    evaluator: Evaluator, study: Study, settings: Mapping[str, Value], key: tuple[Hashable, ...]
) -> pd.DataFrame | None:
    """Return a study's table; None, with a button or progress on the page, until all of it is measured."""

    def work(own: Evaluator, progress: Progress) -> pd.DataFrame:
        results: dict[Work, Any] = {}
        resources.memory().put((*key, "so far"), results)
        try:
            return _conducted(study, settings, results, own, progress)
        finally:
            resources.memory().put((*key, "left"), None)  # it has changed
            resources.memory().put((*key, "so far"), None)  # every image's outcome, needed no longer

    def look_ahead() -> str:
        planned = plan(study.rounds(evaluator, settings), evaluator)
        if planned.kept == planned.works:
            resources.memory().put(key, conduct(study.rounds(evaluator, settings), evaluator, planned=planned))
        return estimate(study, evaluator, planned, 1)

    with st.spinner("Looking for saved results"):
        if resources.memory().get(key) is None:
            known = KeptTable.of_study(study, settings, evaluator).find()
            resources.memory().put(key, None if known is None else known.table)
        there = resources.memory().get(key) is not None
        left = "" if there else resources.remembered((*key, "left"), look_ahead)
    # Never by itself: how long merging takes isn't known ahead, and with some methods it takes longer than measuring.
    table: pd.DataFrame | None = background.on_request(
        key, "Run study", study.title, work, frame.plain(left), lambda: _so_far(key), long=True
    )
    return table


def _conducted(
    study: Study, settings: Mapping[str, Value], results: Results | None, evaluator: Evaluator, progress: Progress
) -> pd.DataFrame:
    """Conduct a study and keep its table."""
    started, place = time.monotonic(), KeptTable.of_study(study, settings, evaluator)
    planned = plan(study.rounds(evaluator, settings), evaluator)
    rounds = study.rounds(evaluator, settings)
    table = conduct(rounds, evaluator, planned=planned, progress=progress, results=results)
    return place.keep(table, planned.works, time.monotonic() - started)


def _so_far(key: tuple[Hashable, ...]) -> None:
    """Draw the merges of a study that is under way."""
    results: Mapping[Work, Any] = dict(resources.memory().get((*key, "so far")) or {})
    table = _merges(results)
    if len(table):
        st.plotly_chart(
            measured_so_far(table, dark=frame.dark()), theme=None, config=look.CONFIG, key="studies.so_far", alt=_SO_FAR
        )
        st.caption(f"{_SO_FAR} *{words.count(len(table), 'merge')}.*")


def _outcome(study: Study, table: pd.DataFrame, command: str) -> None:
    """Draw what was found: in words, as figures, and as a short table; `command` gives the same."""
    st.markdown(f"**Here:** {frame.plain(study.verdict(table))}")
    for name, chart in study.charts(table, frame.dark()).items():
        if chart.title:
            st.subheader(frame.plain(chart.title), anchor=False)
        frame.figure(chart.figure, chart.how_to_read, table, "", f"{study.name}-{name}", command)
    summary = study.summary(table).map(lambda cell: frame.plain(cell) if isinstance(cell, str) else cell)
    st.table(summary, hide_index=True)  # which wraps what is too long for its column


def _merges(results: Mapping[Work, Any]) -> pd.DataFrame:
    """Return one row per merge of which both accuracy and interference are known."""
    found = [(work, outcome) for work, outcome in results.items() if isinstance(work, Point)]
    return pd.DataFrame(
        {
            "stage": "before" if point.recipe.experts == ORIGINAL else "after",
            "on": point.on,
            "accuracy": outcome.accuracy,
            "interference": outcome.interference,
            "n": outcome.n,
            "recipe": facts.settings_in_words(point.recipe),
        }
        for point, outcome in found
        if outcome.correct and outcome.divergence
    )
