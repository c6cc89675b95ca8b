"""Who disturbs whom: a probe at once, more images in the background."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from ri_analysis.engine import Evaluator, Progress
from ri_analysis.figures import crosstalk_matrices, words
from ri_analysis.measures import off_diagonal_mean
from ri_analysis.ui import frame, resources
from ri_analysis.ui.jobs import Job
from ri_analysis.ui.measuring import Meter
from ri_analysis.ui.recipes import Pair

PROBE, REFINED = 16, 128  # images per expert and task
_PATIENCE = 120.0  # seconds of background work that start unasked

_HOW = (
    "Each row is an expert on its own, each column a task whose outputs it moves away from the pretrained model's; "
    "darker is less. Both matrices share one scale, the diagonal (what an expert learned for itself) is left out."
)


@dataclass(frozen=True)
class Question:
    """Which matrices are wanted."""

    sets: tuple[str, ...]
    tasks: tuple[str, ...]

    def key(self, evaluator: Evaluator, limit: int) -> tuple[object, ...]:
        """Return the name of the answer: it changes with the weights."""
        digests = tuple(tuple(evaluator.suite.weight_digests(name).items()) for name in self.sets)
        return ("crosstalk", evaluator.suite.spec.path, self.tasks, digests, limit)


def section(evaluator: Evaluator, pair: Pair) -> None:
    """Draw the matrices before and after RI and their difference."""
    question = Question(tuple(recipe.experts for recipe in pair.recipes), pair.before.tasks)
    if len(question.tasks) < 2:
        st.caption("With one expert there is nobody to disturb.")
        return
    slot = st.empty()
    tables, limit = resources.memory().get(question.key(evaluator, REFINED)), REFINED
    if tables is None:
        limit, started = PROBE, time.monotonic()
        meter = Meter("Measuring who disturbs whom", slot)
        tables = measure(evaluator, question, PROBE, meter)
        meter.clear()
        _refine(evaluator, question, time.monotonic() - started)
    _draw(tables, limit)


def measure(
    evaluator: Evaluator, question: Question, limit: int, progress: Progress | None = None
) -> list[pd.DataFrame]:
    """Return the crosstalk table of each expert set."""
    key = question.key(evaluator, limit)
    found: list[pd.DataFrame] | None = resources.memory().get(key)
    if found is None:
        sets = question.sets
        found = [
            evaluator.crosstalk(name, tasks=question.tasks, limit=limit, progress=_part(progress, place, len(sets)))
            for place, name in enumerate(sets)
        ]
        resources.memory().put(key, found)
    return found


def _part(progress: Progress | None, place: int, parts: int) -> Progress | None:
    """Return the progress of one of several equal parts of the work."""
    if progress is None:
        return None
    return lambda done, total: progress(place * total + done, parts * total)


def _refine(evaluator: Evaluator, question: Question, probe_seconds: float) -> None:
    """See to it that more images are measured: at once, or when asked where it would take long."""
    key = f"crosstalk:{hash(question.key(evaluator, REFINED))}"
    jobs = resources.jobs()
    job = jobs.get(key)
    expected = probe_seconds * REFINED / PROBE

    background = resources.evaluator(resources.BACKGROUND)

    def work(job: Job) -> object:
        return measure(background, question, REFINED, lambda done, total: job.report(done / max(1, total)))

    if job is not None and not job.running and job.error is None:
        job = None  # done, and its answer has since left the memory: the store still has it
    if job is None and expected > _PATIENCE:
        label = f"Measure on {REFINED} images per pair (about {words.duration(expected)})"
        if not st.button(label, key="crosstalk.refine"):
            return
    if job is None:
        job = jobs.start(key, "Refining who disturbs whom", work)
    if job.error is not None:
        st.caption(f"The refinement stopped: {job.error}")
    else:
        _watch(job)


@st.fragment(run_every=1.0)
def _watch(job: Job) -> None:
    if not job.running:
        st.rerun()
    left = job.seconds_left
    text = job.title + (f", about {words.duration(left)} left" if left is not None else "")
    st.progress(job.fraction, text=text)


def _draw(tables: list[pd.DataFrame], limit: int) -> None:
    before, after = tables[0], tables[1] if len(tables) > 1 else None
    means = [words.nats(off_diagonal_mean(table)) for table in tables]
    if after is None:
        st.markdown(f"An expert moves another task's outputs by **{means[0]}** on average.")
    else:
        st.markdown(
            f"On average an expert moves another task's outputs by **{means[0]}** before RI, by **{means[1]}** after."
        )
    most = int(before["n"].max())
    pairs = words.count(len(before), "pair")
    n = f"Rests on up to {words.count(most, 'test image')} for each of {pairs} of expert and task."
    if limit == PROBE:
        n += " A first look; more images follow."
    stacked = pd.concat([table.assign(set=name) for name, table in zip(("before", "after"), tables, strict=False)])
    chart = crosstalk_matrices(before, after, dark=frame.dark())
    frame.figure(chart, _HOW, stacked, n, "crosstalk")
