"""Drift per task on a page: measured in stages, shown by the reader's choice of distance."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ri_analysis.engine import Evaluator
from ri_analysis.engine.drift import Drift, drift_change, drift_known, measure_drift
from ri_analysis.figures import drift as figures
from ri_analysis.figures import words
from ri_analysis.measures.distances import DISTANCES
from ri_analysis.merging import MergeRecipe
from ri_analysis.ui import frame, resources, state
from ri_analysis.ui.measuring import Meter
from ri_analysis.ui.recipes import Pair

PROBE, REFINED = 32, 512  # images a task for a first look, and at most
FIRST, LAST = "-probe", ""  # a run's stages, as they end the names of downloads
_DISTANCE = "drift.distance"

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Drifts:
    """The same images under one merge of the original experts, and of the RI-adapted ones where there are any."""

    before: Drift
    after: Drift | None

    def resting_on(self) -> str:
        """Say on how many images a figure rests."""
        drift = self.before
        images, tasks = words.count(drift.n, "test image"), words.count(len(drift.tasks), "task")
        if drift.n <= PROBE * len(drift.tasks) and not drift.full:
            return f"A first look at {images} of {tasks}; more follow."
        which = "all " if drift.full else f"a fixed sample of at most {REFINED} a task: "
        return f"Rests on {which}{images} of {tasks}; bars show 95% intervals."


def stages(evaluator: Evaluator, pair: Pair, slot: DeltaGenerator) -> Iterator[tuple[str, Drifts]]:
    """Yield the drift of both merges on a probe, then on more images; only the latter when it is already known."""
    if not all(_held(evaluator, recipe) or drift_known(evaluator, recipe, REFINED) for recipe in pair.recipes):
        yield FIRST, _drifts(evaluator, pair, PROBE, slot)
    yield LAST, _drifts(evaluator, pair, REFINED, slot)


def answer_key(what: str, evaluator: Evaluator, recipe: MergeRecipe, limit: int | None) -> tuple[Hashable, ...]:
    """Return the name of an answer about a recipe in the app's memory."""
    weights = recipe.digest(evaluator.suite.weight_digests(recipe.experts))
    return (what, str(evaluator.suite.spec.path), weights, limit)


def _held(evaluator: Evaluator, recipe: MergeRecipe) -> bool:
    return resources.memory().get(answer_key("drift", evaluator, recipe, REFINED)) is not None


def _drifts(evaluator: Evaluator, pair: Pair, limit: int, slot: DeltaGenerator) -> Drifts:
    meter = Meter("Comparing with the experts", slot)
    try:
        found = [
            remembered(
                answer_key("drift", evaluator, recipe, limit),
                partial(measure_drift, evaluator, recipe, limit=limit, progress=meter),
            )
            for recipe in pair.recipes
        ]
    finally:
        meter.clear()
    return Drifts(found[0], found[1] if len(found) > 1 else None)


def remembered(key: tuple[Hashable, ...], work: Callable[[], Answer]) -> Answer:
    """Return what is held in memory under `key`, worked out first where nothing is."""
    found: Answer | None = resources.memory().get(key)
    if found is None:
        found = work()
        resources.memory().put(key, found)
    return found


def chosen_distance() -> str:
    """Return the chosen distance, KL by default."""
    name = state.choice().get(_DISTANCE, "kl")
    return name if name in DISTANCES else "kl"


def _distance_control() -> str:
    name = chosen_distance()
    st.segmented_control(
        "Distance between expert and merged model",
        list(DISTANCES),
        format_func=lambda key: DISTANCES[key].title,
        required=True,
        key=state.seed_widget(_DISTANCE, name),
        on_change=state.take_widget,
        args=(_DISTANCE, "kl"),
    )
    meaning, source = DISTANCES[name].meaning, DISTANCES[name].reference
    st.caption(f"{meaning} {f'({source})' if source else ''}")
    return name


@st.fragment
def per_task(drifts: Drifts, stage: str) -> None:
    """Draw the drift per task by the chosen distance, and its change by RI; `stage` is FIRST or LAST.

    Both stages of one run draw it, so only the last has the widget.
    """
    name = _distance_control() if stage == LAST else chosen_distance()
    unit, before = DISTANCES[name].unit, drifts.before.table(name)
    after = None if drifts.after is None else drifts.after.table(name)
    change = None if drifts.after is None else drift_change(drifts.before, drifts.after, name)
    if after is None:
        st.markdown(f"Mean drift over the tasks: **{before['drift'].mean():.3g} {unit}**.")
    else:
        ratio = before["drift"].mean() / after["drift"].mean() if after["drift"].mean() > 0 else float("inf")
        st.markdown(
            f"Mean drift over the tasks: **{before['drift'].mean():.3g}** before RI, **{after['drift'].mean():.3g}** "
            f"after ({unit}; {ratio:.1f} times less)."
            if ratio >= 1
            else f"Mean drift over the tasks: **{before['drift'].mean():.3g}** before RI, "
            f"**{after['drift'].mean():.3g}** after ({unit})."
        )
    table = before.assign(experts="before", distance=name)
    if after is not None and change is not None:
        later = after.assign(experts="after", distance=name).merge(change.drop(columns="n"), on="task")
        table = pd.concat([table, later], ignore_index=True)
    chart = figures.drift_by_task(before, after, change, unit, dark=frame.dark())
    how = "Shorter is better: at zero the merged model answers like the task's own original expert."
    if after is not None:
        how += " On the right, left of the line RI helped; each image is compared with itself."
    frame.figure(chart, how, table, drifts.resting_on(), f"drift{stage}")
