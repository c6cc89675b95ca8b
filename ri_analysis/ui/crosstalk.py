"""Who disturbs whom: a probe at once, more images in the background."""

from __future__ import annotations

import time
from collections.abc import Hashable

import pandas as pd
import streamlit as st

from ri_analysis.engine import Evaluator
from ri_analysis.figures import crosstalk_matrices, reading, words
from ri_analysis.measures import off_diagonal_mean
from ri_analysis.progress import Progress
from ri_analysis.ui import background, frame, resources
from ri_analysis.ui.jobs import Job
from ri_analysis.ui.measuring import Meter
from ri_analysis.ui.recipes import Pair

PROBE, REFINED = 16, 128  # images per expert and task
_PATIENCE = 120.0  # seconds of background work that start unasked


def section(evaluator: Evaluator, pair: Pair) -> None:
    """Draw the matrices before and after RI and their difference."""
    if len(pair.before.tasks) < 2:
        st.caption("With one expert there is nobody to disturb.")
        return
    slot = st.empty()
    tables, limit = _held(evaluator, pair, REFINED), REFINED
    if tables is None:
        limit, started = PROBE, time.monotonic()
        with Meter("Measuring who disturbs whom", slot) as meter:
            tables = measure(evaluator, pair, PROBE, meter)
        _refine(evaluator, pair, time.monotonic() - started)
    _draw(pair, tables, limit)


def latest(evaluator: Evaluator, pair: Pair) -> list[pd.DataFrame]:
    """Return the tables that rest on most images so far."""
    return _held(evaluator, pair, REFINED) or measure(evaluator, pair, PROBE)


def measure(evaluator: Evaluator, pair: Pair, limit: int, progress: Progress | None = None) -> list[pd.DataFrame]:
    """Return the crosstalk table of each expert set of a pair."""

    def work() -> list[pd.DataFrame]:
        return [
            evaluator.crosstalk(
                recipe.experts,
                tasks=recipe.tasks,
                limit=limit,
                progress=background.parts(progress, place, len(pair.recipes)),
            )
            for place, recipe in enumerate(pair.recipes)
        ]

    return resources.remembered(_key(evaluator, pair, limit), work)


def _key(evaluator: Evaluator, pair: Pair, limit: int) -> tuple[Hashable, ...]:
    """Return the name of the answer: it depends on the experts alone, not on how they are merged."""
    digests = (tuple(evaluator.suite.weight_digests(recipe.experts).items()) for recipe in pair.recipes)
    return ("crosstalk", str(evaluator.suite.spec.path), pair.before.tasks, tuple(digests), limit)


def _held(evaluator: Evaluator, pair: Pair, limit: int) -> list[pd.DataFrame] | None:
    found: list[pd.DataFrame] | None = resources.memory().get(_key(evaluator, pair, limit))
    return found


def _refine(evaluator: Evaluator, pair: Pair, probe_seconds: float) -> None:
    """See to it that more images are measured: at once, or when asked where it would take long."""
    key = f"crosstalk:{hash(_key(evaluator, pair, REFINED))}"
    other, job = resources.evaluator(resources.BACKGROUND), resources.jobs().get(key)
    expected = probe_seconds * REFINED / PROBE

    def work(job: Job) -> object:
        return measure(other, pair, REFINED, job.progress)

    if job is None or not job.running:
        background.explain(job)
        stopped = job is not None and job.error is not None
        if stopped or expected > _PATIENCE:
            label = f"Measure on {REFINED} images per pair (about {words.duration(expected)})"
            if not st.button(label, key="crosstalk.refine"):
                return
        job = resources.jobs().start(key, "Refining who disturbs whom", work)
    background.watch(job)


def _draw(pair: Pair, tables: list[pd.DataFrame], limit: int) -> None:
    before, after = tables[0], tables[1] if len(tables) > 1 else None
    means = [off_diagonal_mean(table) for table in tables]
    said = f"On average an expert moves another task's outputs by **{words.nats(means[0])}**"
    if after is not None:
        said += f" before RI, by **{words.nats(means[1])}** after{words.times_less(*means)}"
    st.markdown(f"{said}.")
    n = reading.crosstalk_rests_on(before)
    if limit == PROBE:
        n += " A first look; more images follow."
    chart = crosstalk_matrices(before, after, dark=frame.dark())
    frame.figure(chart, reading.CROSSTALK, pair.stacked(tables), n, "crosstalk")
