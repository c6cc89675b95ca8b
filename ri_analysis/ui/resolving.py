"""Run RI from a page: choose, start, watch, cancel, resume; and the sets made so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from ri_analysis.engine import Evaluator, pick_device
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.export.facts import record_in_words, resolve_command
from ri_analysis.figures import loss_curves, words
from ri_analysis.hyperparameters import Hyperparameter, Value
from ri_analysis.resolving import HYPERPARAMETERS, Losses, default_settings, resolve, unfinished, unit
from ri_analysis.suite import Suite
from ri_analysis.ui import background, controls, estimate, facts, frame, limited, recipes, resources, state
from ri_analysis.ui.jobs import Job

OWNER = "resolve"
_SOURCE, _TASKS, _SEED, _NAME = (f"{OWNER}.{name}" for name in ("auxiliary", "tasks", "seed", "name"))
_CURVE_POINTS = 200  # kept per expert while a run is watched

_HOW = (
    "Keep: how far an expert's predictions for its own task have moved; free: how far it still moves the other tasks' "
    "predictions. In a good run free falls far while keep stays near 0. Both are measured on auxiliary images only."
)


@dataclass(frozen=True)
class Run:
    """Everything that decides an RI run."""

    name: str
    auxiliary: str
    settings: dict[str, Value]
    tasks: tuple[str, ...]
    seed: int


# --- choosing ---------------------------------------------------------------------------------------------


def declared(suite: Suite) -> list[Hyperparameter]:
    """Return RI's hyperparameters with the defaults that suit this suite."""
    defaults = default_settings(suite)
    return [replace(item, default=defaults[item.name]) for item in HYPERPARAMETERS]


def run_controls(evaluator: Evaluator) -> Run | None:
    """Draw the choices of a run; return it, or None where the suite offers no auxiliary source."""
    suite = evaluator.suite
    names = [item.name for item in suite.spec.auxiliary]
    if not names:
        st.info("This suite declares no auxiliary source: add an `[[auxiliary]]` table to its file to run RI.")
        return None
    left, right = st.columns(2, gap="large")
    with left:
        auxiliary = _source_control(suite, names)
        tasks = _task_control(suite)
        seed = _seed_control()
    items = declared(suite)
    with right:
        controls.hyperparameter_controls(OWNER, items[:2])
        with st.expander("More settings"):
            controls.hyperparameter_controls(OWNER, items[2:])
    settings = recipes.chosen_settings(OWNER, items)
    with left:
        name = _name_control(suite, f"{auxiliary}-{settings['steps']}")
    return Run(name, auxiliary, settings, tasks, seed)


def _source_control(suite: Suite, names: list[str]) -> str:
    chosen = state.choice().get(_SOURCE, "")
    default = suite.record(suite.default_resolved).get("auxiliary", {}).get("name") if suite.default_resolved else None
    value = next((name for name in (chosen, default) if name in names), names[0])
    st.selectbox(
        "Auxiliary images",
        names,
        format_func=lambda name: f"{name} (oracle)" if suite.auxiliary(name).oracle else name,
        key=state.seed_widget(_SOURCE, value),
        on_change=state.take_widget,
        args=(_SOURCE, None),
        help="Unlabelled images unrelated to any task: all that RI sees.",
    )
    count = words.count(len(suite.auxiliary_data(value)), "image")
    if suite.auxiliary(value).oracle:
        st.caption(f"{count}. **Oracle**: these are the tasks' own training images, for reference; real RI has none.")
    else:
        st.caption(f"{count}, without labels.")
    return value


def _task_control(suite: Suite) -> tuple[str, ...]:
    text = state.choice().get(_TASKS)
    value = list(suite.tasks) if text is None else [task for task in suite.tasks if task in text.split(",")]
    st.multiselect(
        "Experts",
        suite.tasks,
        wrap=True,
        key=state.seed_widget(_TASKS, value),
        on_change=state.take_widget,
        args=(_TASKS, list(suite.tasks)),
        help="Adapt together the experts that will be merged: each learns not to change the others' predictions.",
    )
    return tuple(value)


def _seed_control() -> int:
    text = state.choice().get(_SEED, "0")
    value = int(text) if text.isdecimal() else 0
    limited.number_input(
        st,
        "Seed",
        0,
        2**31 - 1,
        step=1,
        key=state.seed_widget(_SEED, value),
        then=state.take_widget,
        args=(_SEED, 0),
        help="Decides the order of the auxiliary images.",
    )
    return value


def _name_control(suite: Suite, proposal: str) -> str:
    taken, number, free = set(suite.expert_sets), 2, proposal
    while free in taken:
        free, number = f"{proposal}-{number}", number + 1
    value = state.choice().get(_NAME, free)
    st.text_input(
        "Name of the new set",
        key=state.seed_widget(_NAME, value),
        on_change=state.take_widget,
        args=(_NAME, free),
        help="Letters, digits, '.', '_' and '-'.",
    )
    return value.strip()


def expected(evaluator: Evaluator, run: Run) -> str:
    """Say how long a run will take on this machine."""
    seconds = estimate.seconds(evaluator, evaluator.suite, run.auxiliary, run.settings, len(run.tasks))
    experts = words.count(len(run.tasks), "expert")
    return f"About {words.duration(seconds)} for {experts} on this machine at the current load"


def start_button(evaluator: Evaluator, run: Run) -> None:
    """Draw the button that starts a run, with how long it will take."""
    if run.tasks:
        st.caption(f"{expected(evaluator, run)}. It runs in the background; you can look at other pages meanwhile.")
    if st.button("Run RI", type="primary", disabled=not run.tasks, key="resolve.run"):
        start(evaluator, run)
        state.put(_NAME, None)
        st.rerun()


# --- running ----------------------------------------------------------------------------------------------


def key_of(suite: Suite, name: str) -> str:
    """Return the key of the run of set `name`."""
    return f"{_prefix(suite)}{name}"


def _prefix(suite: Suite) -> str:
    return f"resolve:{suite.spec.path}:"


def start(evaluator: Evaluator, run: Run, *, resume: bool = False) -> Job:
    """Start a run in the background. Raises InputError for settings that allow no run."""
    suite = evaluator.suite
    if not run.tasks:
        raise InputError("choose at least one expert to adapt")
    if run.name in suite.expert_sets:
        raise InputError(f"expert set {run.name!r} exists already; choose another name")
    device, every = pick_device(resources.device()), max(1, int(run.settings["steps"]) // _CURVE_POINTS)

    def work(job: Job) -> Path:
        job.note = "computing the teachers' outputs"

        def report(now: Losses) -> None:
            job.note = f"{now.task}, step {now.step:,}, keep {words.nats(now.keep)}, free {words.nats(now.free)}"
            if now.step % every == 0 or now.step in (1, int(run.settings["steps"])):
                job.details["losses"].append(now)

        return resolve(suite, **asdict(run), device=device, resume=resume, progress=job.progress, report=report)

    details = {"run": run, "losses": []}
    return resources.jobs().start(key_of(suite, run.name), f"Adapting {run.name}", work, details, unit="steps")


def runs(evaluator: Evaluator) -> None:
    """Draw the runs of this server: those under way with progress and cancel, those that stopped with resume."""
    for job in resources.jobs().starting_with(_prefix(evaluator.suite)):
        with st.container(border=True):
            if job.running:
                background.watch(job, partial(_losses, job, evaluator.suite.tasks))
            else:
                _ended(evaluator, job)


def _losses(job: Job, tasks: Sequence[str]) -> None:
    """Draw the losses of a run that is under way."""
    table = pd.DataFrame(list(job.details["losses"]), columns=list(Losses._fields))
    if len(table):
        measure = unit(str(job.details["run"].settings.get("distance", "kl")))
        chart = loss_curves(table, tasks, unit=measure, dark=frame.dark())
        st.plotly_chart(chart, theme=None, key=f"live.{job.key}", alt=_HOW)
        st.caption(_HOW)


def _ended(evaluator: Evaluator, job: Job) -> None:
    error, name = job.error, job.details["run"].name
    if error is None:
        st.success(f"Expert set {name} is ready and can be compared on every page.", icon=":material/check_circle:")
        use, close = st.columns([1, 1])
        use.button(f"Use {name} as “after RI”", key=f"use.{job.key}", on_click=_use, args=(job,), type="primary")
        close.button("Close", key=f"close.{job.key}", on_click=resources.jobs().drop, args=(job.key,), type="tertiary")
        return
    stopped = isinstance(error, Cancelled)
    if stopped:
        st.info(
            f"{name} was stopped at {words.percent(job.pace.share, 0)}; finished experts are saved.",
            icon=":material/pause_circle:",
        )
    else:
        st.error(
            f"{name}: {error if isinstance(error, InputError) else type(error).__name__}", icon=":material/warning:"
        )
    again, close = st.columns([1, 1])
    if stopped and again.button("Resume", key=f"resume.{job.key}", type="primary"):
        start(evaluator, job.details["run"], resume=True)
        st.rerun()
    close.button("Close", key=f"close.{job.key}", on_click=resources.jobs().drop, args=(job.key,), type="tertiary")


def _use(job: Job) -> None:
    state.put(recipes.RESOLVED, job.details["run"].name)
    resources.jobs().drop(job.key)


# --- what was made before ---------------------------------------------------------------------------------


def left_over(evaluator: Evaluator) -> list[Run]:
    """Return the runs in the workspace that an earlier server left unfinished."""
    suite = evaluator.suite
    return [
        Run(name, run["auxiliary"]["name"], run["settings"], tuple(run["tasks"]), int(run["seed"]))
        for name, run in unfinished(suite).items()
        if resources.jobs().get(key_of(suite, name)) is None
    ]


def offer_unfinished(evaluator: Evaluator) -> None:
    """Draw the runs that can be resumed."""
    for run in left_over(evaluator):
        with st.container(border=True):
            text, button = st.columns([5, 1], vertical_alignment="center")
            text.markdown(f"**{run.name}** was left unfinished (auxiliary source {run.auxiliary}).")
            if button.button("Resume", key=f"resume.left.{run.name}", width="stretch"):
                start(evaluator, run, resume=True)
                st.rerun()


def past_sets(evaluator: Evaluator) -> None:
    """Draw every RI-adapted set with how it was made and its loss curves."""
    suite = evaluator.suite
    if not suite.resolved:
        st.caption("None yet.")
    for item in suite.resolved:
        default = ", the default" if item.name == suite.default_resolved else ""
        with st.expander(f"{item.name}{default}", expanded=len(suite.resolved) == 1):
            record = suite.record(item.name)
            st.markdown(record_in_words(record))
            table = facts.history_table(record)
            if len(table):
                chart = loss_curves(
                    table, suite.tasks, unit=unit(record.get("settings", {}).get("distance", "kl")), dark=frame.dark()
                )
                images = record.get("auxiliary", {}).get("images")
                n = f"Each step uses a batch of {record.get('settings', {}).get('batch', '?')} auxiliary images"
                n += f" out of {images:,}." if images else "."
                command = resolve_command(resources.suite_name(), item.name, record)
                frame.figure(chart, _HOW, table, n, f"losses-{item.name}", command)
