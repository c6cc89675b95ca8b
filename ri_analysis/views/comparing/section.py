"""What the Compare page consists of: adding, measuring, the table, and the figures."""

from __future__ import annotations

import streamlit as st

from ri_analysis.engine import Evaluator
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.export.comparing import crosstalk
from ri_analysis.figures import words
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Parts
from ri_analysis.ui import background, frame, pace, resources
from ri_analysis.ui.jobs import Job
from ri_analysis.views.comparing import adding, board, drawing, table
from ri_analysis.views.comparing.rows import Held, Rows, rows

_STEP = 10.0  # seconds of reading between two signs of life


def section(evaluator: Evaluator) -> None:
    """Draw the page."""
    if said := st.session_state.pop(table.LOADED, ""):
        st.toast(frame.plain(said), icon=":material/check:")
    adding.section(evaluator)
    found = rows(evaluator)
    for text, why in found.ignored.items():
        st.warning(f"{frame.plain(text)}: {frame.plain(why)}", icon=":material/warning:")
    if board.is_unsaved():
        st.caption("The workspace can't be written: names, colours and added recipes last until this tab is closed.")
    jobs, name = resources.jobs(), ":".join(resources.stamp(resources.suite_name()))
    reading, measuring = (jobs.get(f"compare.{what}:{name}") for what in ("read", "measure"))
    if not found.looked and (reading is None or not reading.running):
        reading = _read(f"compare.read:{name}", found)
    running = [job for job in (measuring, reading) if job is not None and job.running]
    if not running:
        background.explain(measuring)
        _offer(f"compare.measure:{name}", found)
        _table(evaluator)
    else:
        background.watch(running[0], lambda: table.section(rows(evaluator)))
    drawing.section(found)


@st.fragment
def _table(evaluator: Evaluator) -> None:
    table.section(rows(evaluator))


def _offer(key: str, found: Rows) -> None:
    """Draw the button that measures what is missing, with how long that takes."""
    missing = found.missing()
    if not missing:
        return
    label = f"Measure {words.count(len(missing), 'recipe')}"
    left, right = st.columns([2, 5], vertical_alignment="center")
    if left.button(label, key="compare.measure", width="stretch", icon=":material/play_arrow:"):
        _measure(key, found, missing)
        st.rerun()
    right.caption(f"No image-by-image results yet. {_how_long(found, missing)} Rows fill in as they are measured.")


def _how_long(found: Rows, missing: list[MergeRecipe]) -> str:
    """Say how long measuring takes, where a first measurement has told the pace."""
    evaluator = found.evaluator
    if not evaluator.number_format_chosen:
        return ""
    key = ("compare.cost", resources.suite_name(), *missing)
    asked = [request for recipe in missing for request in evaluator.requests(recipe)]
    images = resources.remembered(key, lambda: max(1, evaluator.measurement.cost(asked)))
    return f"About {words.duration(pace.seconds(evaluator, missing[0], images, len(missing)))}."


def _measure(key: str, found: Rows, missing: list[MergeRecipe]) -> None:
    own, suite = found.held, resources.suite_name()
    resources.jobs().start(key, "Measuring", lambda job: _work(job, own, missing, suite))


def _work(job: Job, own: Held, missing: list[MergeRecipe], suite: str) -> None:
    """Measure recipes one after another; one that can't be measured leaves the others as they are."""
    evaluator = resources.evaluator(resources.BACKGROUND, suite)
    evaluator.choose_number_format(lambda *_: job.progress(0, 0))
    sets = {(recipe.experts, recipe.tasks): recipe for recipe in missing}
    parts = Parts(job.progress, len(missing) + len(sets))
    for place, recipe in enumerate(missing):
        job.note = f"{recipe.method}, {recipe.experts}"
        try:
            own.collection.measure(evaluator, [recipe], parts.part(place))
        except Cancelled:
            raise
        except InputError as error:
            own.failed[recipe] = str(error)
    job.note = "crosstalk"
    for place, recipe in enumerate(sets.values(), len(missing)):
        if recipe not in own.failed:
            crosstalk(evaluator, recipe, parts.part(place) or _quiet)
    own.crosstalks.clear()  # to be looked up again


def _quiet(done: int, total: int) -> None:
    """A Progress that says nothing."""


def _read(key: str, found: Rows) -> Job:
    """Start reading what the store holds beyond what was read in a moment."""
    own, suite, added = found.held, resources.suite_name(), list(found.recipes.values())

    def work(job: Job) -> None:
        evaluator = resources.evaluator(resources.BACKGROUND, suite)
        while not own.collection.look(evaluator, added, _STEP):
            job.progress(0, 0)

    return resources.jobs().start(key, "Reading saved results", work)
