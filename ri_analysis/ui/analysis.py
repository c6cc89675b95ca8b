"""A section of a page for any analysis: its heading, its options, measuring, its sentence, its figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from ri_analysis.analyses import Analysis, Answer, Option
from ri_analysis.engine import Evaluator
from ri_analysis.figures import words
from ri_analysis.hyperparameters import Value
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Progress
from ri_analysis.sides import Sides
from ri_analysis.ui import background, controls, frame, kept, resources
from ri_analysis.ui.measuring import Meter
from ri_analysis.ui.recipes import chosen_value

MOMENT = 1.0  # seconds for which nothing is sent to the background
PATIENCE = 120.0  # seconds of background work that start unasked
_FEW = 5  # choices shown as buttons rather than in a list

Recipes = Sides[MergeRecipe]
Options = Mapping[str, Value]
Then = Callable[[Answer[Any]], None]


def section(evaluator: Evaluator, recipes: Recipes, analysis: Analysis[Any], then: Then | None = None) -> None:
    """Draw an analysis of a merge before and after RI; `then` draws what stands below, once there is an answer."""
    st.header(analysis.title, anchor=False, divider="gray", help=analysis.formula or None)
    st.markdown(analysis.question)
    if why := analysis.refusal(evaluator, recipes.before):
        st.caption(f"Not for this merge: {frame.plain(why)}.")
        return
    options = choose(analysis, recipes.before.tasks, {}, measured=True)
    found = answer(evaluator, recipes, analysis, options)
    if found is not None:
        _draw(analysis, found, then)


@st.fragment
def _draw(analysis: Analysis[Any], found: Answer[Any], then: Then | None) -> None:
    """Draw what depends on the other options, so that another choice of one measures and redraws nothing else."""
    found = replace(found, options=choose(analysis, found.tasks, found.options, measured=False))
    st.markdown(analysis.says(found))
    charts(analysis, found)
    if then is not None:
        then(found)


def charts(analysis: Analysis[Any], found: Answer[Any], names: tuple[str, ...] | None = None) -> None:
    """Draw an answer's figures, those called `names` where they are given; halves stand two in a row."""
    drawn, tables = analysis.charts(found, frame.dark()), analysis.tables(found)
    shown = {name: chart for name, chart in drawn.items() if names is None or name in names}
    row: list[Any] = []
    for name, chart in shown.items():
        if chart.half and not row:
            row = list(st.columns(2, gap="medium"))
        place = row.pop(0) if chart.half else st.container()
        with place:
            frame.chart(chart, tables[name], name, found)


# --- options ----------------------------------------------------------------------------------------------


def choose(analysis: Analysis[Any], tasks: tuple[str, ...], chosen: Options, *, measured: bool) -> dict[str, Value]:
    """Draw the options on which the measurement depends, or the others; return `chosen` with their values."""
    values = dict(chosen)
    wanted = [option for option in analysis.options if option.measured == measured]
    places = st.columns(len(wanted)) if len(wanted) > 1 else [st.container()]
    for place, option in zip(places, wanted, strict=False):
        with place:
            values[option.name] = pick(analysis.page, option.among(tasks, values))
    return analysis.settled(tasks, values)


def pick(page: str, option: Option) -> Value:
    """Draw the widget of an option on the page on which its value is kept; return the value."""
    address, label = option.address or option.name, option.meaning[0].upper() + option.meaning[1:]
    if not option.choices:
        item = replace(option, name=address)
        controls.hyperparameter_controls(page, [item])
        return chosen_value(page, item)
    few = len(option.choices) <= _FEW and option.task is None
    draw: Any = partial(st.segmented_control, required=True) if few else st.selectbox
    titles = dict(zip(option.choices, option.titles or option.choices, strict=True))
    default = str(option.default)
    value = kept.one_of(draw, label, f"{page}.{address}", option.choices, default, format_func=titles.__getitem__)
    if option.notes:
        st.caption(dict(zip(option.choices, option.notes, strict=True))[value])
    return value


# --- measuring --------------------------------------------------------------------------------------------


def answer(evaluator: Evaluator, recipes: Recipes, analysis: Analysis[Any], options: Options) -> Answer[Any] | None:
    """Return the best answer there is so far, and see to it that a better one follows.

    What is known is there at once. What is quick is measured now, with progress: a first look where the analysis has
    one, while more images are measured in the background. What takes long has to be asked for: None until then.
    """
    *first, limit = analysis.limits
    if first and _covers(evaluator, recipes, first[0]):
        first = []  # all images are no more than the first look
    if _held(evaluator, recipes, analysis, options, limit) is None:
        known = all(analysis.known(evaluator, recipe, options, limit) for recipe in recipes)
        if cost := analysis.cost(evaluator, recipes.before):
            return asked_for(evaluator, recipes, analysis, options, limit, analysis.button, cost, ready=known)
        if first and not known:
            started = time.monotonic()
            look = measured(evaluator, recipes, analysis, options, first[0])
            if not _refine(evaluator, recipes, analysis, options, time.monotonic() - started):
                return look
    return measured(evaluator, recipes, analysis, options, limit)


def asked_for(
    evaluator: Evaluator,
    recipes: Recipes,
    analysis: Analysis[Any],
    options: Options,
    limit: int | None,
    label: str,
    note: str,
    *,
    ready: bool = False,
    at_once: bool = False,
) -> Answer[Any] | None:
    """Return what a button called `label` asks for, measured in the background; None until it is there.

    `ready` says that it takes no time: then nobody has to ask. `at_once` starts without the button.
    """
    if ready:
        return measured(evaluator, recipes, analysis, options, limit)
    key = _key(evaluator, recipes, analysis, options, limit)
    work = partial(_results, analysis, recipes, options, limit)
    found = background.on_request(key, label, analysis.title.rstrip("?"), work, note, at_once=at_once)
    return None if found is None else Answer(analysis.name, recipes, found, options, limit)


def measured(
    evaluator: Evaluator, recipes: Recipes, analysis: Analysis[Any], options: Options, limit: int | None
) -> Answer[Any]:
    """Measure now, with progress, or return what is held in memory."""
    with Meter(analysis.title) as meter:
        work = partial(_results, analysis, recipes, options, limit, evaluator, meter)
        found = resources.remembered(_key(evaluator, recipes, analysis, options, limit), work)
    return Answer(analysis.name, recipes, found, options, limit)


def _results(
    analysis: Analysis[Any],
    recipes: Recipes,
    options: Options,
    limit: int | None,
    evaluator: Evaluator,
    progress: Progress,
) -> Sides[Any]:
    evaluator.choose_number_format(progress)
    count = len(recipes)
    return Sides.of(
        analysis.measure(evaluator, recipe, options, limit, background.parts(progress, place, count))
        for place, recipe in enumerate(recipes)
    )


def _refine(evaluator: Evaluator, recipes: Recipes, analysis: Analysis[Any], options: Options, seconds: float) -> bool:
    """See to it that more images than those of a first look of `seconds` are measured: in the background, or when asked
    where it would take long. Return whether that is too quick for either."""
    first, limit = analysis.limits
    assert first is not None  # or there was no first look
    more = max(part.count(limit) for part in evaluator.sections(recipes.before.tasks))
    expected = seconds * more / first
    if expected <= MOMENT:
        return True
    note = f"A first look at {words.count(first, 'image')} a task; more take about {words.duration(expected)}."
    label = f"Measure {words.count(more, 'image')} a task"
    asked_for(evaluator, recipes, analysis, options, limit, label, note, at_once=expected <= PATIENCE)
    return False


def _covers(evaluator: Evaluator, recipes: Recipes, limit: int | None) -> bool:
    parts = evaluator.sections(recipes.before.tasks)
    return all(part.count(limit) == len(part.images) for part in parts)


def _held(
    evaluator: Evaluator, recipes: Recipes, analysis: Analysis[Any], options: Options, limit: int | None
) -> Sides[Any] | None:
    found: Sides[Any] | None = resources.memory().get(_key(evaluator, recipes, analysis, options, limit))
    return found


def _key(
    evaluator: Evaluator, recipes: Recipes, analysis: Analysis[Any], options: Options, limit: int | None
) -> tuple[Hashable, ...]:
    """Return the name of an answer: it changes with the weights, and with the options that are measured."""

    def model(recipe: MergeRecipe) -> Hashable:
        if analysis.of_merge:
            return recipe, evaluator.digest(recipe)
        return recipe.tasks, tuple(evaluator.suite.weight_digests(recipe.experts).items())

    asked = tuple((option.name, options[option.name]) for option in analysis.options if option.measured)
    return (analysis.name, str(evaluator.suite.spec.path), *map(model, recipes), asked, limit)
