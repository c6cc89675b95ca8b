"""Drift per task on a page: measured in stages, shown by the reader's choice of distance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

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
from ri_analysis.ui.measuring import PROBE, Meter, memory_key
from ri_analysis.ui.recipes import Pair

REFINED = 512  # images a task at most
FIRST, LAST = "-probe", ""  # a run's stages, as they end the names of widgets and downloads
_DISTANCE = "interference.distance"


@dataclass(frozen=True)
class Drifts:
    """The same images under one merge of the original experts, and of the RI-adapted ones where there are any."""

    pair: Pair
    found: tuple[Drift, ...]
    _changes: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)

    @property
    def before(self) -> Drift:
        """The drift of the merge of the original experts."""
        return self.found[0]

    @property
    def after(self) -> Drift | None:
        """The drift of the merge of the RI-adapted experts."""
        return self.found[1] if len(self.found) > 1 else None

    def change(self, distance: str) -> pd.DataFrame | None:
        """Return the paired change per task, None without an RI set."""
        if self.after is None:
            return None
        if distance not in self._changes:
            self._changes[distance] = drift_change(self.before, self.after, distance)
        return self._changes[distance]

    def table(self, distance: str) -> pd.DataFrame:
        """Return one row per expert set and task: the drift table, `distance`, and for the RI set also the change."""
        stacked = self.pair.stacked([drift.table(distance) for drift in self.found]).assign(distance=distance)
        change = self.change(distance)
        if change is None:
            return stacked
        paired = change.drop(columns="n").assign(experts=self.pair.recipes[-1].experts)
        return stacked.merge(paired, on=["experts", "task"], how="left")

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
        first = _drifts(evaluator, pair, PROBE, slot)
        if not first.before.full:
            yield FIRST, first
    yield LAST, _drifts(evaluator, pair, REFINED, slot)


def _held(evaluator: Evaluator, recipe: MergeRecipe) -> bool:
    return resources.memory().get(memory_key("drift", evaluator, recipe, REFINED)) is not None


def _drifts(evaluator: Evaluator, pair: Pair, limit: int, slot: DeltaGenerator) -> Drifts:
    with Meter("Comparing with the experts", slot) as meter:
        found = [
            resources.remembered(
                memory_key("drift", evaluator, recipe, limit),
                partial(measure_drift, evaluator, recipe, limit=limit, progress=meter),
            )
            for recipe in pair.recipes
        ]
    return Drifts(pair, tuple(found))


def distance_control(stage: str) -> str:
    """Draw the choice of distance; return its name, KL by default. It waits for a run's LAST stage."""
    wanted = state.choice().get(_DISTANCE, "kl")
    name = wanted if wanted in DISTANCES else "kl"
    st.segmented_control(
        "Distance between expert and merged model",
        list(DISTANCES),
        format_func=lambda key: DISTANCES[key].title,
        required=True,
        key=state.seed_widget(_DISTANCE + stage, name),
        on_change=state.take_widget,
        args=(_DISTANCE, "kl"),
        disabled=stage != LAST,
    )
    meaning, source = DISTANCES[name].meaning, DISTANCES[name].reference
    st.caption(f"{meaning} {f'({source})' if source else ''}")
    return name


def per_task(drifts: Drifts, distance: str, stage: str) -> None:
    """Draw the drift per task by a distance, and its change by RI."""
    unit, before = DISTANCES[distance].unit, drifts.before.table(distance)
    after = None if drifts.after is None else drifts.after.table(distance)
    st.markdown(_mean(before, after, unit))
    chart = figures.drift_by_task(before, after, drifts.change(distance), unit, dark=frame.dark())
    how = "Shorter is better: at zero the merged model answers like the task's own original expert."
    if after is not None:
        how += " On the right, left of the line RI helped; each image is compared with itself."
    frame.figure(chart, how, drifts.table(distance), drifts.resting_on(), f"drift{stage}")


def _mean(before: pd.DataFrame, after: pd.DataFrame | None, unit: str) -> str:
    """Say the mean drift over the tasks."""
    first = float(before["drift"].mean())
    if after is None:
        return f"Mean drift over the tasks: **{first:.3g}** ({unit})."
    second = float(after["drift"].mean())
    times = words.times_less(first, second)
    return f"Mean drift over the tasks: **{first:.3g}** before RI, **{second:.3g}** after ({unit}{times})."
