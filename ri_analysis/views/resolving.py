"""Run RI from a page: choose, start, watch, cancel; what was left unfinished; and the sets made so far."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean

import pandas as pd
import streamlit as st

from ri_analysis.encoder import Architecture
from ri_analysis.engine import Evaluator, pick_device
from ri_analysis.engine.merge_probe import IMAGES, SHARE, Gain, MergeProbe
from ri_analysis.engine.sections import usual_source
from ri_analysis.engine.sets import CROSSTALK_IMAGES, compare_sets, sets_kept, sets_to_compare
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.export.facts import (
    forecast_in_words,
    gain_in_words,
    history_table,
    looks_table,
    origin_of_losses,
    record_in_words,
    run_in_words,
    sets_table,
)
from ri_analysis.figures import loss_curves, losses, words
from ri_analysis.hyperparameters import Hyperparameter, Value
from ri_analysis.merging import METHODS
from ri_analysis.progress import Progress
from ri_analysis.resolving import (
    HYPERPARAMETERS,
    PRESETS,
    Forecast,
    HeldOut,
    Losses,
    Preset,
    Unfinished,
    plan,
    record_of,
    relevant,
    resolve,
    unfinished,
    unit,
)
from ri_analysis.resolving.forecast import size
from ri_analysis.suite import Suite
from ri_analysis.ui import background, controls, frame, kept, limited, recipes, resources, state
from ri_analysis.ui.jobs import Job
from ri_analysis.views import estimate

OWNER = "resolve"
START = "quick"  # the preset that the page starts from
_SOURCE, _TASKS, _SEED, _NAME = (state.entry(f"{OWNER}.{name}") for name in ("auxiliary", "tasks", "seed", "name"))
_PRESET, _PROBE, _METHOD = (state.entry(f"{OWNER}.{name}") for name in ("preset", "probe", "method"))
_CURVE_POINTS = 200  # kept per expert while a run is watched


@dataclass(frozen=True)
class Run:
    """Everything that decides an RI run."""

    name: str
    auxiliary: str
    settings: dict[str, Value]
    tasks: tuple[str, ...]
    seed: int
    probe: str = ""  # the method of a merge that is tried meanwhile, "" for none


# --- choosing ---------------------------------------------------------------------------------------------


def chosen_preset() -> Preset:
    """Return the preset that the reader starts from."""
    wanted = state.choice().get(_PRESET, START)
    if wanted not in PRESETS:
        state.ignore(_PRESET, f"preset: {kept.unknown(wanted, list(PRESETS))} {START} is used")
    return PRESETS.get(wanted) or PRESETS[START]


def declared(preset: Preset, architecture: Architecture) -> list[Hyperparameter]:
    """Return RI's hyperparameters with a preset's values for such a tower as defaults."""
    values = preset.settings(architecture)
    return [replace(item, default=values[item.name]) for item in HYPERPARAMETERS]


def run_controls(evaluator: Evaluator) -> Run | None:
    """Draw the choices of a run; return it, or None where the suite offers no auxiliary source."""
    suite = evaluator.suite
    names = [item.name for item in suite.spec.auxiliary]
    if not names:
        st.info("This suite declares no auxiliary source: add an `[[auxiliary]]` table to its file to run RI.")
        return None
    presets = st.container()
    left, right = st.columns(2, gap="large")
    with left:
        auxiliary = _source_control(suite, names)
        tasks = _task_control(suite)
        seed = _seed_control()
    items = declared(chosen_preset(), evaluator.architecture)
    settings = recipes.chosen_settings(OWNER, items)
    shown = [item for item in items if item.name in relevant(settings)]
    with right:
        controls.hyperparameter_controls(OWNER, shown[:2])
        with st.expander("More settings"):
            controls.hyperparameter_controls(OWNER, shown[2:])
    with left:
        name = _name_control(suite, f"{auxiliary}-{settings['steps']}", names)
    run = Run(name, auxiliary, settings, tasks, seed)
    with presets:
        _preset_control(evaluator, run)
        _own_settings(items, settings)
    return run


def _preset_control(evaluator: Evaluator, run: Run) -> None:
    """Draw the presets, each with its purpose and what it costs here and now."""
    purposes = [f"{preset.purpose} {_cost(evaluator, run, preset)}" for preset in PRESETS.values()]
    st.radio(
        "Preset",
        list(PRESETS),
        captions=purposes,
        key=state.seed_widget(_PRESET, chosen_preset().name),
        on_change=_take_preset,
        help="Settings to start from. Costs are measured on this machine, for the images and experts below.",
    )


def _cost(evaluator: Evaluator, run: Run, preset: Preset) -> str:
    try:
        found = expected(evaluator, replace(run, settings=preset.settings(evaluator.architecture)))
    except InputError as error:
        return f"Not possible here: {frame.plain(str(error))}."
    if found is None:
        return "*Timing a step…*" if run.tasks else ""
    return f"**About {words.duration(found.seconds)}**, {size(found.memory)} of memory, {size(found.disk)} of disk."


def _take_preset() -> None:
    """Callback: take a preset's settings, all of them."""
    state.take_widget(_PRESET, START)
    for item in HYPERPARAMETERS:
        state.put(recipes.entry(OWNER, item), None)


def _own_settings(items: Sequence[Hyperparameter], settings: Mapping[str, Value]) -> None:
    """Say which settings are not the preset's, where some are, and offer to take them back."""
    counted = relevant(settings)
    changed = [item for item in items if item.name in counted and settings[item.name] != item.default]
    if not changed:
        return
    listing = ", ".join(
        f"{words.chosen(item, settings[item.name])} (not {_value(item, item.default)})" for item in changed
    )
    row = st.container(horizontal=True, vertical_alignment="center", key="resolve.own")
    row.markdown(f"**Your own settings**: {chosen_preset().name}, but with {listing}.")
    row.button("Back to the preset", key="resolve.back", on_click=_take_preset, type="tertiary", icon=":material/undo:")


def _value(item: Hyperparameter, value: Value) -> str:
    """Return a value alone, as its widget shows it."""
    if item.titles:
        return item.titled[str(value)]
    if isinstance(item.default, str):
        return str(value) or "none"
    return f"{value:,}" if isinstance(value, int) else words.signed(float(value))


def _source_control(suite: Suite, names: list[str]) -> str:
    chosen = state.choice().get(_SOURCE, "")
    value = next((name for name in (chosen, usual_source(suite)) if name in names), names[0])
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
        st.caption(f"{count}. **Oracle**: these are the tasks' own training images, for reference; real RI uses none.")
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
        help="Choose all experts that will be merged: each learns not to change the other tasks' predictions.",
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


def expected(evaluator: Evaluator, run: Run) -> Forecast | None:
    """Return what a run will take on this machine, None while that is measured. Raises InputError where it can't be."""
    folder = evaluator.suite.resolved_folder
    if folder is None or not run.tasks:
        return None
    return estimate.expected(evaluator, run.auxiliary, run.settings, run.tasks, run.seed, folder / run.name)


def start_button(evaluator: Evaluator, run: Run) -> None:
    """Draw what a run will be called, do, take and write, and the button that starts it."""
    wrong, found = problem(evaluator.suite, run), None
    if not wrong:
        try:
            found = expected(evaluator, run)
        except InputError as error:
            wrong = f"{str(error)[0].upper()}{str(error)[1:]}."
    if not wrong and found is not None and found.obstacle:
        wrong = f"The run {found.obstacle}."
    if wrong:
        st.warning(frame.plain(wrong), icon=":material/warning:")
    else:
        st.markdown(f"**{frame.plain(run.name)}**: {run_in_words(run.settings)}.")
        _what_it_takes(run, found)
    run = _probe_control(evaluator, run)
    if st.button("Run RI", type="primary", disabled=bool(wrong), key="resolve.run"):
        start(evaluator, run)
        state.put(_NAME, None)
        st.rerun()
    estimate.follow()


def _probe_control(evaluator: Evaluator, run: Run) -> Run:
    """Draw whether a merge is tried while the run is under way; return the run with it."""
    method = recipes.chosen_method()
    tried = method if method.statistic is None else METHODS[recipes.DEFAULT_METHOD]
    missing = [task for task in run.tasks if evaluator.suite.task(task).validation is None]
    on = st.toggle(
        f"Measure a {tried.title} merge of the experts adapted so far, while RI runs",
        key=state.seed_widget(_PROBE, state.choice().get(_PROBE) == "True" and not missing),
        on_change=state.take_widget,
        args=(_PROBE, False),
        disabled=bool(missing),
        help=f"After each expert, merges and measures on {IMAGES} labelled validation images of each task, as long as "
        f"that takes no more than {SHARE:.0%} of the time. For display only: RI itself uses no task images."
        + (f" No validation images: {', '.join(missing)}." if missing else ""),
    )
    return replace(run, probe=tried.name if on else "")


def _what_it_takes(run: Run, found: Forecast | None) -> None:
    background_too = "It runs in the background; you can use other pages meanwhile."
    if found is None:
        st.caption(f"Timing a step on this machine… {background_too}")
        return
    experts = words.count(len(run.tasks), "expert")
    st.caption(
        f"About {words.duration(found.seconds)} for {experts} on this machine at the current load. {background_too}"
    )
    with st.expander("What it needs and writes"):
        lines = forecast_in_words(found, run.settings, len(run.tasks))
        st.markdown("\n".join(f"- **{name}**: {frame.plain(text)}." for name, text in lines.items()))


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
        folder = plan.folder_of(suite, run.name)
        probe = (
            MergeProbe(resources.evaluator(resources.BACKGROUND, name), folder, run.tasks, run.probe)
            if run.probe
            else None
        )

        def report(now: Losses) -> None:
            job.note = f"{now.task}, step {now.step:,}, keep {words.nats(now.keep)}, free {words.nats(now.free)}"
            if now.step % every == 0 or now.step in (1, int(run.settings["steps"])):
                job.details["losses"].append(now)
            job.details["looks"][now.task] = now.held_out
            if probe is not None:
                probe.after()
                job.details["gains"] = tuple(probe.gains)

        given = {key: value for key, value in asdict(run).items() if key != "probe"}
        made = resolve(suite, **given, device=device, resume=resume, progress=job.progress, report=report)
        if probe is not None:
            probe.after()
            job.details["gains"] = tuple(probe.gains)
        return made

    name = resources.suite_name()  # a job has no session to ask
    details = {"run": run, "losses": [], "looks": {}, "gains": ()}
    return resources.jobs().start(key_of(suite, run.name), f"Adapting {run.name}", work, details, "steps", long=True)


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
    """Draw the losses of a run that is under way, how it fares on held-out images, and what a merge would gain."""
    table = pd.DataFrame([row[:5] for row in list(job.details["losses"])], columns=list(Losses._fields[:5]))
    looks = dict(job.details["looks"])
    if len(table):
        measure = unit(str(job.details["run"].settings.get("distance", "kl")))
        rows = [(task, *look) for task, found in looks.items() for look in found]
        seen = pd.DataFrame(rows, columns=["task", *HeldOut._fields])
        chart = loss_curves(table, tasks, held_out=seen, unit=measure, dark=frame.dark())
        how = losses.WITH_HELD_OUT if len(seen) else losses.HOW_TO_READ
        st.plotly_chart(chart, theme=None, key=f"panels.three.live.{job.key}", alt=how)
        st.caption(how)
        _remaining(looks)
    _gains(job)


def _remaining(looks: Mapping[str, Sequence[HeldOut]]) -> None:
    """Say how much of the crosstalk on held-out images is left, of the experts seen so far."""
    found = [each for each in looks.values() if each]
    if found:
        before, now = (fmean(each[place].crosstalk for each in found) for place in (0, -1))
        experts = words.count(len(found), "expert")
        st.markdown(
            f"On held-out images, crosstalk is now **{words.nats(now)}**, {words.nats(before)} at first ({experts})."
        )


def _gains(job: Job) -> None:
    """Draw what a merge of the experts as they are would gain, where that is probed."""
    method = job.details["run"].probe
    if not method:
        return
    gains: tuple[Gain, ...] = job.details["gains"]
    if not gains:
        st.caption("Probe: measured once the first expert is finished.")
        return
    st.markdown(f"**Probe.** {gain_in_words(gains[-1], method)}, for display only: RI uses none of these images.")
    if len(gains) > 1:
        before = "; ".join(
            f"after {words.count(gain.finished, 'expert')} {words.points(gain.change)}" for gain in gains[:-1]
        )
        st.caption(f"Earlier: {before}.")


def _ended(job: Job) -> None:
    name, error = frame.plain(job.details["run"].name), job.error
    if error is None:
        st.success(f"Expert set {name} is ready and can be compared on every page.", icon=":material/check_circle:")
        _gains(job)
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
        with st.expander(f"{frame.plain(item.name)}{default}", expanded=len(suite.resolved) == 1):
            record = record_of(suite, item.name)
            st.markdown(frame.sentence(record_in_words(record)))
            table, looks = history_table(record), looks_table(record)
            if len(table):
                settings = record.get("settings", {})
                measure = unit(str(settings.get("distance", "kl")))
                chart = loss_curves(table, suite.tasks, held_out=looks, unit=measure, dark=frame.dark())
                images = record.get("auxiliary", {}).get("images")
                n = f"Each step uses a batch of {settings.get('batch', '?')} auxiliary images"
                n += f" out of {images:,}." if images else "."
                how = losses.HOW_TO_READ
                if len(looks):
                    n += f" Monitored on {record['held_out']['images']:,} others."
                    how = losses.WITH_HELD_OUT
                    kinds = {"training": table, "held-out": looks}
                    table = pd.concat([part.assign(images=kind) for kind, part in kinds.items()], ignore_index=True)
                origin = origin_of_losses(evaluator, item.name, resources.suite_name())
                frame.figure(chart, how, table, n, f"losses-{item.name}", origin)


# --- sets compared ----------------------------------------------------------------------------------------

_SETS = (
    "Own accuracy: each expert on its own task; crosstalk: how far an expert moves another task's predictions "
    f"(at most {CROSSTALK_IMAGES} images a task). The remaining columns: the merge of each set. Changes are from the "
    "original experts of the same tasks on the same test images, with 95% intervals; one that excludes 0 is unlikely "
    "to be sampling noise."
)


def compared_sets(evaluator: Evaluator) -> None:
    """Draw all expert sets in one table, measured where the store has no answer yet once the reader asks for it."""
    titles = {name: method.title for name, method in METHODS.items() if method.statistic is None}
    entry, shown_as = _METHOD, titles.__getitem__
    method = kept.one_of(st.selectbox, "Merged by", entry, list(titles), recipes.DEFAULT_METHOD, format_func=shown_as)
    recipe = evaluator.recipe(method, tasks=evaluator.suite.tasks)
    sets = tuple(tuple(evaluator.suite.weight_digests(name).values()) for name in sets_to_compare(evaluator))
    key = ("sets", resources.opened(evaluator), recipe, sets_to_compare(evaluator), sets)

    def work(evaluator: Evaluator, progress: Progress) -> pd.DataFrame:
        return compare_sets(evaluator, recipe, progress=progress)

    table: pd.DataFrame | None
    if sets_kept(evaluator, recipe):
        table = resources.remembered(key, lambda: compare_sets(evaluator, recipe))
    else:
        note = "Measures every set on all test images, in the background. Results are saved."
        table = background.on_request(key, "Compare the sets", "Comparing expert sets", work, note)
    if table is None:
        return
    shown = sets_table(table)
    st.dataframe(
        shown,
        hide_index=True,
        key="resolve.sets",
        column_config={"expert set": st.column_config.TextColumn(pinned=True)},
    )
    settings = [", ".join(f"{name}={value}" for name, value in found.items()) for found in table["settings"]]
    frame.caption(_SETS, table.assign(settings=settings), "expert-sets", "The numbers of this table")
