"""Measure for a page: first a probe where the whole would take a while, then everything, with progress."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ri_analysis.analyses.analysis import FIRST_LOOK
from ri_analysis.engine import Comparison, Evaluation, Evaluator
from ri_analysis.figures import words
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Pace, Parts, Progress
from ri_analysis.ui import resources
from ri_analysis.ui.recipes import Pair


class Meter:
    """A progress bar with the time left, in a place of the page that is empty again afterwards."""

    def __init__(self, label: str, slot: DeltaGenerator | None = None) -> None:
        self._label, self._slot = label, slot if slot is not None else st.empty()
        self._pace, self._shown = Pace(), 0.0

    def __call__(self, done: int, total: int) -> None:
        """Show how far the work is; a call of the engine's Progress."""
        self._pace(done, total)
        now = time.monotonic()
        if now - self._shown >= 0.2 or done >= total:
            self._shown = now
            self._slot.progress(self._pace.share, text=words.how_far(self._label, self._pace, unit="images"))

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        self._slot.empty()


def memory_key(what: str, evaluator: Evaluator, recipe: MergeRecipe, limit: int | None = None) -> tuple[Hashable, ...]:
    """Return the name of an answer about a recipe in the app's memory; it changes with the files."""
    return (what, resources.opened(evaluator), recipe, evaluator.digest(recipe), limit)


def measure(
    evaluator: Evaluator, recipe: MergeRecipe, *, limit: int | None = None, meter: Progress | None = None
) -> Evaluation:
    """Measure a recipe, or return what is held of it in memory."""
    work = partial(evaluator.measure, recipe, limit=limit, progress=meter)
    return resources.remembered(memory_key("measure", evaluator, recipe, limit), work)


def compare(
    evaluator: Evaluator, pair: Pair, *, limit: int | None = None, slot: DeltaGenerator | None = None
) -> Comparison:
    """Measure both recipes of a pair, with progress."""
    with Meter("Measuring a first look" if limit else "Measuring", slot) as meter:
        parts = Parts(meter, len(pair.all))
        found = [
            measure(evaluator, recipe, limit=limit, meter=parts.part(place)) for place, recipe in enumerate(pair.all)
        ]
    return Comparison.of(found)


def stages(evaluator: Evaluator, pair: Pair, slot: DeltaGenerator) -> Iterator[Comparison]:
    """Yield a comparison on a probe at once, then on all images; only the latter when it is already known."""
    if not known(evaluator, pair):
        first = compare(evaluator, pair, limit=FIRST_LOOK, slot=slot)
        yield first
        if first.before.full:
            return
    yield compare(evaluator, pair, slot=slot)


def known(evaluator: Evaluator, pair: Pair) -> bool:
    """Whether a pair can be had without encoding an image."""
    return all(evaluator.kept(recipe) for recipe in pair.all)
