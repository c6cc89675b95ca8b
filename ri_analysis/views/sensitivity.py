"""The Sensitivity page: a surface that fills in while one looks, its slices and its plateaus."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from ri_analysis.engine import Evaluator
from ri_analysis.figures import surfaces, words
from ri_analysis.merging import METHODS
from ri_analysis.progress import Progress
from ri_analysis.studies import sensitivity
from ri_analysis.studies.conducting.conduct import Plan, conduct, plan
from ri_analysis.studies.conducting.tables import KeptTable
from ri_analysis.studies.conducting.work import Work
from ri_analysis.studies.effective import MEANING, with_effective_scales
from ri_analysis.studies.sensitivity import Field, kept_table
from ri_analysis.studies.study import Rounds
from ri_analysis.studies.surface import Axis
from ri_analysis.ui import background, frame, headings, kept, pace, recipes, resources, state
from ri_analysis.ui.jobs import Job
from ri_analysis.ui.recipes import Pair

X, Y, _VIEW, _AT = (state.entry(f"sensitivity.{name}") for name in ("x", "y", "view", "at"))
NONE = "none: a curve"
MERGE_PAGE = "pages/merge.py"
_VIEWS = {"map": "Map", "landscape": "Landscape"}
_EVERY = 2.0  # seconds between two drawings of a surface that fills in


@dataclass(frozen=True)
class Way:
    """A way to measure: all of the grid, or only where it is unsure."""

    name: str
    rounds: Callable[[Sequence[Field]], Rounds]
    kept: Callable[[Evaluator, Sequence[Field]], KeptTable]


WHOLE = Way("whole", sensitivity.study_field, sensitivity.kept_table)
SAVING = Way("saving", sensitivity.saving_field, sensitivity.kept_saving_table)


def section(evaluator: Evaluator, pair: Pair) -> None:
    """Draw the choice of axes, and below it what is known, what is being measured, or a button to begin."""
    wanted = _fields(evaluator, pair)
    if not wanted:
        return
    key = _key(evaluator, wanted)
    for way in (WHOLE, SAVING):
        job = resources.jobs().get(_job_name(key, way))
        if job is not None and job.running and resources.memory().get((*key, way.name)) is None:
            background.watch(job, partial(_so_far, job, wanted))
            return
    found: pd.DataFrame | None = resources.memory().get((*key, WHOLE.name))
    if found is None and resources.memory().get((*key, "plan")) is None:
        with st.spinner("Looking for saved results"):
            found = _from_store(evaluator, wanted, key)
    if found is None:
        _unfinished(evaluator, wanted, key)
        return
    _whole(found, wanted)
    if kept_table(evaluator, wanted).shipped:
        background.measured_before("sensitivity", key, "Sensitivity", partial(_again, wanted))


def _unfinished(evaluator: Evaluator, wanted: Sequence[Field], key: tuple[Hashable, ...]) -> None:
    """Draw what is known of fields that were not measured whole, and buttons to measure more."""
    part: pd.DataFrame | None = resources.memory().get((*key, SAVING.name))
    for way in (WHOLE, SAVING):
        background.explain(resources.jobs().get(_job_name(key, way)))
    _start(evaluator, wanted, key, estimated=part is not None)
    if part is not None:
        st.markdown(sensitivity.saving(part))
        _whole(part, wanted)
        return
    for way in (WHOLE, SAVING):
        if (job := resources.jobs().get(_job_name(key, way))) is not None:
            _so_far(job, wanted)


def _again(wanted: Sequence[Field], evaluator: Evaluator, progress: Progress) -> None:
    started, planned = time.monotonic(), plan(sensitivity.study_field(wanted), evaluator)
    table = conduct(sensitivity.study_field(wanted), evaluator, planned=planned, progress=progress)
    kept_table(evaluator, wanted).keep(table, planned.works, time.monotonic() - started)


def _fields(evaluator: Evaluator, pair: Pair) -> list[Field]:
    """Draw the choice of axes; return the fields it means, none where the method has nothing to vary."""
    method = METHODS[pair.before.method]
    names = sensitivity.axes_of(pair.before)
    if not names:
        st.info(f"{method.title} has no hyperparameter to vary.", icon=":material/info:")
        return []
    left, right, size = st.columns([2, 2, 3], vertical_alignment="bottom")
    x = kept.one_of(left.selectbox, "First axis", X, names, names[0], format_func=method.label)
    others = [name for name in names if name != x]
    y = kept.one_of(
        right.selectbox,
        "Second axis",
        Y,
        [NONE, *others],
        others[0] if others else NONE,
        format_func=lambda name: name if name == NONE else method.label(name),
    )
    levels = [sensitivity.OWN_LEVELS] * (1 if y == NONE else 2)
    stages = "before and after RI" if pair.after is not None else "before RI"
    size.caption(
        f"{' × '.join(map(str, levels))} {'grid' if len(levels) > 1 else 'values'} {stages}, "
        f"{sensitivity.OWN_IMAGES} test images per task; the best points are measured again on more images. Results "
        "are saved."
    )
    return sensitivity.fields_of(pair, x, None if y == NONE else y)


def _command(wanted: Sequence[Field]) -> str:
    """Return the command that measures the same; none where only this page varies the reader's own recipe."""
    settings = sensitivity.settings_of(resources.evaluator(), wanted, sensitivity.OWN_LEVELS)
    return "" if settings is None else sensitivity.STUDY.command(resources.suite_name(), settings)


def _key(evaluator: Evaluator, wanted: Sequence[Field]) -> tuple[Hashable, ...]:
    digests = tuple(evaluator.digest(field.base) for field in wanted)
    return ("sensitivity", resources.opened(evaluator), digests, wanted[0].x, wanted[0].y)


def _job_name(key: tuple[Hashable, ...], way: Way) -> str:
    return f"sensitivity:{hash((*key, way.name))}"


def _from_store(evaluator: Evaluator, wanted: Sequence[Field], key: tuple[Hashable, ...]) -> pd.DataFrame | None:
    """Return the whole table where the store has all of it; None, and note what is left to do, where it has not."""
    known = kept_table(evaluator, wanted).find()
    if known is not None:
        resources.memory().put((*key, WHOLE.name), known.table)
        return known.table
    planned = plan(sensitivity.study_field(wanted), evaluator)
    if planned.kept < planned.works:
        first = plan(sensitivity.coarse_field(wanted), evaluator)
        saving = None if wanted[0].y is None else SAVING.kept(evaluator, wanted).find()
        resources.memory().put((*key, SAVING.name), None if saving is None else saving.table)
        resources.memory().put((*key, "plan"), (planned, _seconds(evaluator, wanted, planned), first))
        return None
    table = conduct(sensitivity.study_field(wanted), evaluator, planned=planned)
    resources.memory().put((*key, WHOLE.name), table)
    return table


def _seconds(evaluator: Evaluator, wanted: Sequence[Field], planned: Plan) -> float:
    return pace.seconds(evaluator, wanted[0].base, planned.images, planned.works - planned.kept)


def _coarse(wanted: Sequence[Field], evaluator: Evaluator, progress: Progress) -> pd.DataFrame:
    planned = plan(sensitivity.coarse_field(wanted), evaluator)
    return conduct(sensitivity.coarse_field(wanted), evaluator, planned=planned, progress=progress)


def _start(evaluator: Evaluator, wanted: Sequence[Field], key: tuple[Hashable, ...], *, estimated: bool) -> None:
    """Draw the buttons that start the measurement, with what it will take; `estimated` where the costly part is."""
    looked_up = resources.memory().get((*key, "plan"))
    if looked_up is None:
        st.rerun()  # a measurement ended, or others filled the memory, since it was looked up
    planned, expected, first = looked_up
    if not estimated and _seconds(evaluator, wanted, first) <= pace.SHORT < expected:
        coarse = background.on_request(
            ("sensitivity first", *key), "Coarse grid", "Coarse grid", partial(_coarse, wanted), at_once=True
        )
        if coarse is None:
            return
        _picture(coarse, wanted)
    left, middle, right = st.columns([2, 2, 5], vertical_alignment="center")
    todo = words.count(planned.works - planned.kept, "merge")
    surface = wanted[0].y is not None and not estimated
    fewer = " “Only where unsure” runs as few as it needs, and estimates the rest." if surface else ""
    right.caption(
        f"{todo} to run, {words.saved(planned.kept)}; about {words.duration(expected)} here. First "
        f"results after about 10%.{fewer}"
    )
    label = "Measure the rest" if estimated else "Resume" if planned.kept else "Measure"
    ended = resources.jobs().get(_job_name(key, WHOLE))
    at_once = not estimated and expected <= pace.SHORT and (ended is None or ended.error is None)
    if left.button(label, key="sensitivity.start", width="stretch", type="primary") or at_once:
        _begin(wanted, key, planned, WHOLE, long=not at_once)
    if surface and middle.button(
        "Only where unsure",
        key="sensitivity.save",
        width="stretch",
        help="Measures only settings where it is unclear how accurate they are, or whether they lie within a point of "
        "the best; a Gaussian process estimates the others.",
    ):
        _begin(wanted, key, planned, SAVING, long=True)


def _begin(wanted: Sequence[Field], key: tuple[Hashable, ...], planned: Plan, way: Way, *, long: bool) -> None:
    suite = resources.suite_name()
    resources.jobs().start(
        _job_name(key, way), "Measuring", lambda job: _work(job, wanted, key, planned, suite, way), long=long
    )
    st.rerun()


def _work(job: Job, wanted: Sequence[Field], key: tuple[Hashable, ...], planned: Plan, suite: str, way: Way) -> None:
    """Measure in the background, leaving the table so far for the page every now and then."""
    own = resources.evaluator(resources.BACKGROUND, suite)
    results: dict[Work, Any] = {}
    drawn, began = 0.0, time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal drawn
        job.progress(done, total)
        if time.monotonic() - drawn > _EVERY:
            job.details["table"] = sensitivity.partial_table(wanted, results)
            drawn = time.monotonic()

    try:
        table = conduct(way.rounds(wanted), own, planned=planned, progress=progress, results=results)
        table = way.kept(own, wanted).keep(table, len(results), time.monotonic() - began)
        resources.memory().put((*key, way.name), table)
    finally:
        resources.memory().put((*key, "plan"), None)  # what is left to do has changed


def _so_far(job: Job, wanted: Sequence[Field]) -> None:
    """Draw what there is of a surface that is being measured."""
    table = job.details.get("table")
    if table is not None and len(table):
        _picture(table, wanted)


def _whole(found: pd.DataFrame, wanted: Sequence[Field]) -> None:
    """Draw a finished surface or curve with all that belongs to it: everywhere one number a place."""
    found = sensitivity.one_a_place(found)
    _picture(found, wanted)
    if wanted[0].y is not None:
        how = (
            "Each axis alone: the best accuracy at each of its values, over all values of the other. Stars: best "
            "points; bands: 95% intervals of the points shown. Each is the best of many, so a bit too high by chance."
        )
        chart, n = surfaces.marginals(found, dark=frame.dark()), sensitivity.on_images(found)
        frame.figure(chart, how, found[found["kind"] == "grid"], n, "sensitivity-marginals", _command(wanted))
    headings.header("Plateaus")
    text = (
        "The plateau is the range of the first axis, through the best point, where accuracy is within one point of the "
        "best; on a logarithmic axis, its high end divided by its low end, so rescaling the task vectors does not "
        "change it. Last column: the range within one point of the best accuracy before RI. Gap: best minus default, "
        "on the same test images. The best was also chosen on them, so the gap is the most that tuning could gain. "
        "Intervals: 95%, bootstrap over images."
    )
    best = found[found["kind"] == "best"]
    st.dataframe(_plateaus(found), hide_index=True, key="sensitivity.plateaus")
    frame.caption(text, best, "plateaus", "The best points with their plateaus, every digit")
    if wanted[0].y is not None:
        _slices(found, wanted[0].y, METHODS[wanted[0].base.method].label(wanted[0].y.name), _command(wanted))


def methods_together(evaluator: Evaluator) -> None:
    """Draw several methods on one axis: the points that the sensitivity study has measured."""
    headings.header("Several methods on one axis")
    study = sensitivity.STUDY
    settings = {item.name: item.default for item in study.settings}
    about = resources.opened(evaluator), evaluator.suite.digest()
    known = resources.remembered(
        ("sensitivity study", *about), lambda: KeptTable.of_study(study, settings, evaluator).find()
    )
    if known is None:
        st.caption(f"Nothing is measured yet: run the study “{study.title}” with its usual settings, then come back.")
        st.page_link("pages/studies.py", label="Open the Studies page", icon=":material/science:")
        return

    def work(own: Evaluator, progress: Progress) -> pd.DataFrame:
        return with_effective_scales(own, known.table, progress)

    short = pace.seconds(evaluator, evaluator.recipe("averaging"), 0, known.table["method"].nunique() * 2) <= pace.SHORT
    note = "Every method merges once for each expert set; no images are measured."
    found: pd.DataFrame | None = background.on_request(
        ("effective", *about), "Compare on one axis", "Effective scales", work, note, at_once=short
    )
    if found is None:
        return
    how = (
        f"Effective scale is {MEANING} (dashed line). Every point was measured, at the method's default settings "
        "except λ; stars are each method's best. Hover over a point for its 95% interval."
    )
    chart = surfaces.together(found, dark=frame.dark())
    command = study.command(resources.suite_name(), settings)
    frame.figure(chart, how, found, sensitivity.on_images(found), "methods-together", command)


def _plateaus(found: pd.DataFrame) -> pd.DataFrame:
    """Return the study's summary as narrow as a laptop's page: where stretches begin and end stands in the CSV."""
    rows = sensitivity.STUDY.summary(found).drop(columns="method")
    long = "as good as the best before"
    for name in ("plateau", long):
        rows[name] = rows[name].str.partition(": ")[0].str.replace("at least ", "≥ ")
    return rows.rename(columns={long: "as good as before"})


def _picture(found: pd.DataFrame, wanted: Sequence[Field]) -> None:
    field, dark = wanted[0], frame.dark()
    x = field.x.of(field.base)
    n = sensitivity.on_images(found)
    if field.y is None:
        how = "Accuracy along the axis; bands are 95% intervals, stars the best, bars the plateaus one point below."
        _clickable(surfaces.curves(found, here=x, dark=dark), wanted, found, how, n)
        return
    view = kept.titled(st.segmented_control, "View", _VIEW, _VIEWS, required=True, label_visibility="collapsed")
    if view == "landscape":
        how = "Height and colour are accuracy, on one scale: a flat top means the setting matters little."
        frame.figure(surfaces.relief(found, dark=dark), how, found, n, "sensitivity-landscape", _command(wanted))
        return
    how = (
        "Accuracy over both axes on one colour scale, and the change by RI. Dots were measured, the rest is "
        "interpolated. Shaded: within one point of the best. Star: best; ring: default; cross: your recipe. The best, "
        "above each map with its 95% interval, is chosen among the points that were measured on the most images."
    )
    here = (x, field.y.of(field.base))
    _clickable(surfaces.pair(found, here=here, dark=dark), wanted, found, how, n)


def _clickable(chart: go.Figure, wanted: Sequence[Field], found: pd.DataFrame, how: str, n: str) -> None:
    """Draw a figure whose points can be taken over as the recipe."""
    click = frame.Click("Click a point to make it your recipe.", partial(_take, wanted[0]))
    frame.figure(chart, how, found, n, "sensitivity", _command(wanted), click)
    if "sensitivity.taken" in st.session_state:
        st.page_link(
            MERGE_PAGE, label=f"Open {st.session_state['sensitivity.taken']} on the Merge page", icon=":material/merge:"
        )


def _take(field: Field, point: dict[str, Any]) -> None:
    """Callback: make the clicked place the recipe of every page."""
    place = _place_of(point)
    said = []
    for axis, value in zip((field.x, field.y), place, strict=False):
        if axis is not None:
            state.put(_entry(field, axis), None if value == axis.default else state.text_of(_typed(field, axis, value)))
            said.append(f"{METHODS[field.base.method].label(axis.name)} = {words.signed(value, '.4g')}")
    st.session_state["sensitivity.taken"] = ", ".join(said)


def _place_of(point: dict[str, Any]) -> list[float]:
    """Return the x and y that a clicked point stands for: its custom data where it has some."""
    data = point.get("customdata")
    if data is None:
        return [float(point["x"])]
    return [float(value) for value in (data.values() if isinstance(data, dict) else data)]


def _entry(field: Field, axis: Axis) -> str:
    """Return the entry of the reader's choice that an axis stands for."""
    return recipes.COEFFICIENT + axis.name if axis.coefficient else f"{field.base.method}.{axis.name}"


def _typed(field: Field, axis: Axis, value: float) -> float | int:
    old = field.base.settings.get(axis.name)
    return int(value) if isinstance(old, int) else value


def _slices(found: pd.DataFrame, axis: Axis, label: str, command: str) -> None:
    """Draw accuracy along the first axis at one value of the second, called `label`; `command` measures the whole."""
    headings.header("Slices")
    grid = found[found["kind"] == "grid"]
    values = {state.text_of(float(value)): value for value in sorted(grid["y"].unique())}
    nearest = min(values, key=lambda text: abs(values[text] - axis.default))
    at = kept.one_of(
        st.select_slider,
        f"{label} =",
        _AT,
        list(values),
        nearest,
        format_func=lambda text: words.signed(values[text], ".3g"),
    )
    part = grid[grid["y"] == values[at]]
    n = f"{sensitivity.on_images(part)} Bands show 95% intervals."
    how = "One row of the maps above: accuracy along the first axis at this value of the second."
    frame.figure(surfaces.curves(part, dark=frame.dark()), how, part, n, "sensitivity-slice", command)
