"""The Studies page: any study of the suite, carried out on request, with its outcome beside the paper's finding."""

from __future__ import annotations

import shlex
from collections.abc import Hashable, Mapping

import pandas as pd
import streamlit as st

from ri_analysis.engine import Evaluator, Progress
from ri_analysis.engine.points import Bench
from ri_analysis.hyperparameters import Value
from ri_analysis.studies import STUDIES, Study
from ri_analysis.studies.conduct import conduct, plan
from ri_analysis.studies.output import estimate
from ri_analysis.ui import background, controls, frame, kept, recipes, resources, state

CHOSEN, FIRST = "studies.name", "methods"


def section(evaluator: Evaluator) -> None:
    """Draw the choice of a study with its settings, and its outcome, or what it will take and a button to begin."""
    name = kept.one_of(st.selectbox, "Study", CHOSEN, list(STUDIES), FIRST, format_func=lambda one: STUDIES[one].title)
    study = STUDIES[name]
    owner = f"studies.{study.name}"
    st.markdown(f"**{study.question}**")
    st.caption(f"The paper (second-hand): {study.finding}")
    with st.expander("Settings"):
        controls.hyperparameter_controls(owner, study.settings, sliders=False)
    settings = recipes.chosen_settings(owner, study.settings)
    command = command_of(study, settings)
    st.code(command, language="bash", wrap_lines=True)
    key = ("study", str(evaluator.suite.spec.path), evaluator.suite.digest(), study.name, *settings.values())
    table = _table(evaluator, study, settings, key)
    if table is not None:
        _outcome(study, table, command)


def command_of(study: Study, settings: Mapping[str, Value]) -> str:
    """Return the shell command that does the same, and writes the figures as files."""
    words = ["ri-analysis", "study", study.name, resources.suite_name(), "--out", f"studies/{study.name}"]
    for item in study.settings:
        if settings[item.name] != item.default:
            words += ["--set", f"{item.name}={state.text_of(settings[item.name])}"]
    return shlex.join(words)


def _table(
    evaluator: Evaluator, study: Study, settings: Mapping[str, Value], key: tuple[Hashable, ...]
) -> pd.DataFrame | None:
    """Return a study's table; None, with a button or progress on the page, until all of it is measured."""

    def work(own: Evaluator, progress: Progress) -> pd.DataFrame:
        bench = Bench(own)
        planned = plan(study.rounds(own, settings), bench)
        rounds = study.rounds(own, settings)
        try:
            return conduct(
                rounds, bench, planned=planned, report=lambda tally: progress(tally.images, max(1, planned.images))
            )
        finally:
            resources.memory().put((*key, "left"), None)  # it has changed

    def look_ahead() -> str:
        bench = Bench(evaluator)
        planned = plan(study.rounds(evaluator, settings), bench)
        if planned.kept == planned.works:
            resources.memory().put(key, conduct(study.rounds(evaluator, settings), bench, planned=planned))
        return estimate(study, bench, planned, 1)

    left = "" if resources.memory().get(key) is not None else resources.remembered((*key, "left"), look_ahead)
    table: pd.DataFrame | None = background.on_request(key, "Carry out", study.title, work, frame.plain(left))
    return table


def _outcome(study: Study, table: pd.DataFrame, command: str) -> None:
    """Draw what was found: in words, as figures, and as a short table; `command` gives the same."""
    st.markdown(f"**Here:** {frame.plain(study.verdict(table))}")
    for name, chart in study.charts(table, frame.dark()).items():
        frame.figure(chart.figure, chart.how_to_read, table, "", f"{study.name}-{name}", command)
    st.dataframe(study.summary(table), hide_index=True, key=f"summary.{study.name}")
