"""Run RI from a page: choose, start, watch, cancel; what was left unfinished; and the sets made so far."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from ri_analysis.engine import Evaluator, pick_device
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.export.facts import origin_of_losses, record_in_words, run_in_words
from ri_analysis.figures import loss_curves, words
from ri_analysis.hyperparameters import Hyperparameter, Value
from ri_analysis.resolving import HYPERPARAMETERS, Losses, Unfinished, default_settings, plan, resolve, unfinished, unit
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
        name = _name_control(suite, f"{auxiliary}-{settings['steps']}", names)
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


def _name_control(suite: Suite, proposal: str, sources: list[str]) -> str:
    """Draw the field for the name: it follows source and steps, until the reader types one of another form.

    A page that is slower than the hand sends the name suggested before as if it had been typed.
    """
    number, free = 2, proposal
    while free in suite.expert_sets or _holder(suite, free):
        free, number = f"{proposal}-{number}", number + 1
    typed = state.choice().get(_NAME, "")
    if re.fullmatch(rf"({'|'.join(map(re.escape, sources))})-\d+(-\d+)?", typed):
        state.put(_NAME, None)
        typed = ""
    st.text_input(
        "Name of the new set",
        key=state.seed_widget(_NAME, typed or free),
        on_change=state.take_widget,
        args=(_NAME, free),
        help="Follows the auxiliary images and the steps until you type a name of your own: letters, digits, '.', '_' "
        "and '-'.",
    )
    return (typed or free).strip()


def _holder(suite: Suite, name: str) -> bool:
    """Whether a run, or the folder of one, has the name already."""
    folder = suite.resolved_folder
    job = resources.jobs().get(key_of(suite, name))
    return (job is not None and job.running) or (folder is not None and (folder / name).exists())


def problem(suite: Suite, run: Run) -> str:
    """Return why a run can't start; empty where it can."""
    job = resources.jobs().get(key_of(suite, run.name))
    if not run.tasks:
        return "Choose at least one expert to adapt."
    if job is not None and job.running:
        return f"A run named {run.name} is under way: choose another name."
    if run.name in unfinished(suite):
        return f"An unfinished run is named {run.name}: resume or delete it above, or choose another name."
    try:
        plan.check_free(plan.folder_of(suite, run.name))
    except InputError as error:
        return f"{str(error)[0].upper()}{str(error)[1:]}."
    return ""


def expected(evaluator: Evaluator, run: Run) -> str:
    """Say how long a run will take on this machine."""
    seconds = estimate.seconds(evaluator, evaluator.suite, run.auxiliary, run.settings, len(run.tasks))
    experts = words.count(len(run.tasks), "expert")
    return f"About {words.duration(seconds)} for {experts} on this machine at the current load"


def start_button(evaluator: Evaluator, run: Run) -> None:
    """Draw what a run will be called and do, how long it will take, and the button that starts it."""
    wrong = problem(evaluator.suite, run)
    if wrong:
        st.warning(frame.plain(wrong), icon=":material/warning:")
    else:
        st.markdown(f"**{frame.plain(run.name)}**: {run_in_words(run.settings)}.")
        st.caption(f"{expected(evaluator, run)}. It runs in the background; you can look at other pages meanwhile.")
    if st.button("Run RI", type="primary", disabled=bool(wrong), key="resolve.run"):
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
    if not resume and (wrong := problem(suite, run)):
        raise InputError(wrong)
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
    """Draw the runs of this server: those under way with progress and cancel, those that ended with how."""
    for job in resources.jobs().starting_with(_prefix(evaluator.suite)):
        seen = job.look()
        if seen.running:
            with st.container(border=True):
                st.caption(f"{run_in_words(job.details['run'].settings)}")
                background.watch(job, partial(_losses, job, evaluator.suite.tasks))
        elif isinstance(seen.error, Cancelled):
            resources.jobs().drop(job.key)  # it is among the unfinished ones
        else:
            with st.container(border=True):
                _ended(job)


def _losses(job: Job, tasks: Sequence[str]) -> None:
    """Draw the losses of a run that is under way."""
    table = pd.DataFrame(list(job.details["losses"]), columns=list(Losses._fields))
    if len(table):
        measure = unit(str(job.details["run"].settings.get("distance", "kl")))
        chart = loss_curves(table, tasks, unit=measure, dark=frame.dark())
        st.plotly_chart(chart, theme=None, key=f"live.{job.key}", alt=_HOW)
        st.caption(_HOW)


def _ended(job: Job) -> None:
    name, error = frame.plain(job.details["run"].name), job.error
    if error is None:
        st.success(f"Expert set {name} is ready and can be compared on every page.", icon=":material/check_circle:")
    else:
        said = frame.plain(str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}")
        st.error(f"{name} stopped: {said}", icon=":material/warning:")
    with st.container(horizontal=True):
        if error is None:
            label = f"Use {name} as “after RI”"
            st.button(label, key=f"use.{job.key}", on_click=_use, args=(job,), type="primary")
        st.button("Close", key=f"close.{job.key}", on_click=resources.jobs().drop, args=(job.key,), type="tertiary")


def _use(job: Job) -> None:
    state.put(recipes.RESOLVED, job.details["run"].name)
    resources.jobs().drop(job.key)


# --- what was made before ---------------------------------------------------------------------------------


def offer_unfinished(evaluator: Evaluator) -> None:
    """Draw the runs that were stopped half way, each with how far it is, and ways to resume and to delete it."""
    suite = evaluator.suite
    under_way = {job.key for job in resources.jobs().starting_with(_prefix(suite)) if job.running}
    left = [run for name, run in unfinished(suite).items() if key_of(suite, name) not in under_way]
    if not left:
        return
    st.header("Unfinished runs", anchor=False, divider="gray")
    for run in left:
        with st.container(border=True, key=f"left.{run.name}"):
            st.markdown(f"**{frame.plain(run.name)}**: {_how_far(run)}")
            if run.plan:
                st.caption(f"On {frame.plain(str(run.plan['auxiliary']['name']))}, {run_in_words(run.settings)}.")
            if run.running:
                st.caption("Another process is working on it.")
            else:
                _resume_or_delete(evaluator, run)


def _how_far(run: Unfinished) -> str:
    if run.damage:
        return "can't be read."
    experts = f"{len(run.finished)} of {words.count(len(run.tasks), 'expert')} finished"
    step = f", the next one at step {run.step:,}" if run.step else ""
    return f"{words.percent(run.share, 0)} done ({experts}{step})."


def _resume_or_delete(evaluator: Evaluator, run: Unfinished) -> None:
    obstacle = run.obstacle(evaluator.suite)
    if obstacle:
        st.caption(f"It can't be resumed: {frame.plain(obstacle)}.")
    with st.container(horizontal=True):
        if st.button("Resume", key=f"resume.left.{run.name}", icon=":material/play_arrow:", disabled=bool(obstacle)):
            planned = (str(run.plan["auxiliary"]["name"]), run.settings, run.tasks, int(run.plan["seed"]))
            start(evaluator, Run(run.name, *planned), resume=True)
            st.rerun()
        with st.popover("Delete", icon=":material/delete:"):
            st.markdown(f"Delete {frame.plain(run.name)} and what it has computed so far? This can't be undone.")
            if st.button("Delete for good", key=f"delete.left.{run.name}", type="primary"):
                run.delete()
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
                origin = origin_of_losses(evaluator, item.name, resources.suite_name())
                frame.figure(chart, _HOW, table, n, f"losses-{item.name}", origin)
