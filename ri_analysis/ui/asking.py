"""Asking an analysis on a page: what is known is there at once, what is quick is measured now, the rest follows."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import streamlit as st

from ri_analysis.analyses import Analysis, Answer
from ri_analysis.engine import Evaluator
from ri_analysis.figures import words
from ri_analysis.hyperparameters import Value
from ri_analysis.progress import Parts, Progress
from ri_analysis.sides import Sides
from ri_analysis.ui import background, pace, resources
from ri_analysis.ui.measuring import Meter
from ri_analysis.ui.recipes import Pair

MOMENT = 1.0  # seconds for which nothing is sent to the background
PATIENCE = 300.0  # seconds of background work that start unasked


class _Found(NamedTuple):
    """Results, and the seconds from the first image on; None where all was known, which says nothing about more."""

    results: Sides[Any]
    seconds: float | None


@dataclass(frozen=True)
class Question:
    """An analysis of a merge, before and after RI, with its options, on at most `limit` images a task."""

    evaluator: Evaluator
    recipes: Pair
    analysis: Analysis[Any]
    options: Mapping[str, Value]
    limit: int | None = None

    def now(self) -> Answer[Any]:
        """Measure, with progress, or return what is held in memory."""
        return self._answer(self._measure())

    def later(self, label: str, note: str = "", *, at_once: bool = False, title: str = "") -> Answer[Any] | None:
        """Measure in the background, asked for by a button called `label` or `at_once`; None until that is done."""
        title = title or self.analysis.title.rstrip("?")
        found = background.on_request(self._key(), label, title, self._work, note, at_once=at_once)
        return None if found is None else self._answer(found)

    def measured_before(self) -> None:
        """Say where the answer came with the suite, and offer to measure it again."""
        if any(self.analysis.shipped(self.evaluator, each, self.options, self.limit) for each in self.recipes):
            background.measured_before(self.analysis.name, self._key(), self.analysis.title.rstrip("?"), self._work)

    def _measure(self) -> _Found:
        with Meter(self.analysis.title) as meter:
            return resources.remembered(self._key(), lambda: self._work(self.evaluator, meter))

    def _work(self, evaluator: Evaluator, progress: Progress) -> _Found:
        began: list[float] = []

        def report(done: int, total: int) -> None:
            if not began:
                began.append(time.monotonic())
            progress(done, total)

        parts = Parts(report, len(self.recipes))
        evaluator.choose_number_format(lambda *_: progress(0, 0))
        results = Sides.of(
            self.analysis.result(evaluator, recipe, self.options, self.limit, parts.part(place))
            for place, recipe in enumerate(self.recipes)
        )
        return _Found(results, time.monotonic() - began[0] if began else None)

    def _answer(self, found: _Found) -> Answer[Any]:
        return Answer(self.analysis.name, self.recipes, found.results, self.options, self.limit)

    def _key(self) -> tuple[Hashable, ...]:
        """Return the name of the answer: it changes with the files, and with the options that are measured."""
        asked = [option.name for option in self.analysis.options if option.measured]
        chosen = tuple((name, self.options[name]) for name in asked)
        models = (self._model(side) for side in range(len(self.recipes)))
        return (self.analysis.name, resources.opened(self.evaluator), *models, chosen, self.limit)

    def _model(self, side: int) -> Hashable:
        recipe = self.recipes.all[side]
        if self.analysis.of_merge:
            return recipe, self.evaluator.digest(recipe)
        return recipe.tasks, tuple(self.evaluator.suite.weight_digests(recipe.experts).items())

    def known(self) -> bool:
        """Whether nothing has to be encoded."""
        if resources.memory().get(self._key()) is not None:
            return True
        return all(self.analysis.known(self.evaluator, each, self.options, self.limit) for each in self.recipes)

    def seconds(self) -> float | None:
        """Return how long it would take, None for an analysis that does not say what it measures."""
        requests, evaluator = self.analysis.requests, self.evaluator
        if requests is None or not evaluator.number_format_chosen:
            return None
        asked = [each for recipe in self.recipes for each in requests(evaluator, recipe, self.options, self.limit)]
        cost = evaluator.measurement.cost(asked)
        return pace.seconds(evaluator, self.recipes.before, cost, len(asked))

    def _images(self) -> int:
        """Return the most images that a task is measured on."""
        return max(part.count(self.limit) for part in self.evaluator.sections(self.recipes.before.tasks))


def _costly(first: list[Question], last: Question, cost: str) -> Answer[Any] | None:
    """Return the answer to a question that has a cost, or its first look, as far as they are known or short."""
    expected = last.seconds()
    note = cost if expected is None else f"{cost} About {words.duration(expected)}."
    short = expected is not None and expected <= pace.SHORT
    found = last.later(last.analysis.button, note, at_once=short)
    if found is not None or short or not first:
        return found
    look = first[0].seconds()
    if look is None or look > pace.SHORT:
        return None
    st.caption(f"A first look at {words.count(first[0]._images(), 'image')} a task:")
    return first[0].now()


def best_so_far(question: Question) -> Answer[Any] | None:
    """Return the best answer there is to a question, and see to it that a better one follows; its limit is ours to set.

    What has a cost has to be asked for, unless it is short: its first look is there at once where that is short, else
    nothing. Of all else that has a first look, that is there at once, while more images are measured in the background.
    """
    *first, last = (replace(question, limit=limit) for limit in question.analysis.limits)
    if last.known():
        return last.now()
    if cost := question.analysis.cost(question.evaluator, question.recipes.before):
        return _costly(first, last, cost)
    if not first or first[0]._images() == last._images():
        return last.now()
    found = first[0]._measure()
    ratio = last._images() / first[0]._images()
    expected = None if found.seconds is None else ratio * found.seconds
    if expected is not None and expected <= MOMENT:
        return last.now()
    about = "" if expected is None else f"; measuring more takes about {words.duration(expected)}"
    note = f"A first look at {words.count(first[0]._images(), 'image')} a task{about}."
    label = f"Measure {words.count(last._images(), 'image')} a task"
    better = last.later(label, note, at_once=expected is None or expected <= PATIENCE)
    return better or first[0]._answer(found)
