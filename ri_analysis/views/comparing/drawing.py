"""The figures of the Compare page."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import streamlit as st

from ri_analysis.engine.comparing import Measured
from ri_analysis.engine.variance import A_LEVEL, FEWEST, explained
from ri_analysis.export import facts
from ri_analysis.export.comparing import compare_command, label, of_one_method, setting_rows, settings_of, task_rows
from ri_analysis.export.snapshot import Origin
from ri_analysis.figures import recipes as figures
from ri_analysis.figures import words
from ri_analysis.merging import METHODS, MergeRecipe
from ri_analysis.suite import ORIGINAL
from ri_analysis.ui import frame, headings, kept, resources, state
from ri_analysis.views.comparing import table
from ri_analysis.views.comparing.rows import Rows

_FEW = 12  # recipes in one figure task by task
_LINES, _MOST = 3, 300  # recipes that are lines in one figure, at least and at most

_METHOD = state.entry("compare.method")


def section(rows: Rows) -> None:
    """Draw the figures of the measured recipes: hidden ones take no part."""
    measured = {
        text: found
        for text in rows.recipes
        if text not in rows.board.hidden and (found := rows.measured(text)) is not None
    }
    headings.header("Task by task")
    _tasks(rows, measured)
    headings.header("Which setting matters")
    _settings(rows, measured)
    if len(rows.evaluator.suite.expert_sets) > 1:
        headings.header("Expert sets side by side")
        _sets(rows, measured)


def _tasks(rows: Rows, measured: dict[str, Measured]) -> None:
    ticked = [text for text in table.shown(rows) if text in measured]
    if not ticked:
        st.caption("Tick measured recipes in the table to see them task by task.")
        return
    drawn = ticked[:_FEW]
    if len(ticked) > _FEW:
        st.caption(f"The first {_FEW} of {len(ticked)} ticked recipes.")
    chosen = [rows.recipes[text] for text in drawn]
    found = task_rows(rows.evaluator, rows.held.collection, chosen, rows.names)
    figure = figures.task_dots(found, table.looks(rows, drawn), dark=frame.dark())
    frame.figure(figure, figures.HOW_DOTS, found, _images(found), "recipes-by-task", _origin(rows, chosen))


def _settings(rows: Rows, measured: dict[str, Measured]) -> None:
    by_method = {
        method: part[:_MOST] for method, part in of_one_method(list(measured.values())).items() if len(part) >= _LINES
    }
    if not by_method:
        st.caption(f"At least {_LINES} measured recipes of one method are needed. Add a sweep above.")
        return
    first = max(by_method, key=lambda name: len(by_method[name]))
    method = kept.one_of(
        st.selectbox, "Method", _METHOD, list(by_method), first, format_func=lambda name: METHODS[name].title
    )
    part = by_method[method]
    found = setting_rows(rows.evaluator, part, rows.names)
    titles = {item.name: item.heading for item in METHODS[method].hyperparameters} | {"expert set": "Expert set"}
    varied = [name for name in settings_of(method) if found[name].nunique() > 1]
    logs = [item.name for item in METHODS[method].hyperparameters if item.log]
    origin = _origin(rows, [each.recipe for each in part])
    shares = explained(found, settings_of(method), "accuracy")
    left, right = st.columns([3, 2], gap="medium")
    with left:
        axes = {name: titles.get(name, name) for name in varied}
        figure = figures.parallel(found, axes, logs, dark=frame.dark())
        n = f"{words.count(len(found), 'recipe')} of {METHODS[method].title}, {_images(found)}"
        frame.figure(figure, figures.HOW_PARALLEL, found, n, "recipes-parallel", origin)
    with right:
        _shares(shares, titles, origin)


def _shares(shares: pd.DataFrame, titles: dict[str, str], origin: Origin) -> None:
    """Draw how much each setting explains, or say that there are too few recipes to tell."""
    unknown = shares[shares["share"].isna()]
    if len(unknown) < len(shares):
        figure = figures.shares(shares, titles, dark=frame.dark())
        n = f"{words.count(int(shares['n'].max()), 'recipe')}."
        frame.figure(figure, figures.HOW_SHARES, shares, n, "recipes-shares", origin)
        st.caption("Shares overlap unless all combinations of the settings were measured.")
    if len(unknown):
        names = ", ".join(titles.get(name, name) for name in unknown["setting"])
        st.caption(
            f"Too few recipes to say how much these explain: {names}. There are {int(unknown['n'].max())}; "
            f"at least {FEWEST} are needed, and {A_LEVEL:g} for each value."
        )


def _sets(rows: Rows, measured: dict[str, Measured]) -> None:
    by_merge: dict[MergeRecipe, list[Measured]] = {}
    for each in measured.values():
        by_merge.setdefault(each.recipe.with_experts(ORIGINAL), []).append(each)
    several = {merge: part for merge, part in by_merge.items() if len(part) > 1}
    if not several:
        st.caption("No recipe is measured with two expert sets yet. Above, add a recipe for every expert set.")
        return
    drawn = [each for part in list(several.values())[: _MOST // 10] for each in part]
    found = pd.DataFrame(
        {
            "merge": label(each.recipe.with_experts(ORIGINAL), rows.evaluator.suite).removesuffix(f", {ORIGINAL}"),
            "experts": each.recipe.experts,
            **{name: each.numbers[name] for name in ("accuracy", "accuracy_low", "accuracy_high", "n")},
        }
        for each in drawn
    )
    suite = rows.evaluator.suite
    looks = figures.set_roles(suite.expert_sets, suite.default_resolved)
    figure = figures.expert_sets(found, looks, dark=frame.dark())
    origin = _origin(rows, [each.recipe for each in drawn])
    frame.figure(figure, figures.HOW_SETS, found, _images(found), "recipes-by-set", origin)


def _images(found: pd.DataFrame) -> str:
    """Say on how many images numbers are based."""
    by_recipe = found.groupby("recipe")["n"].sum() if "task" in found else found["n"]
    least, most = int(by_recipe.min()), int(by_recipe.max())
    return f"{words.count(most, 'test image')} each." if least == most else f"{least:,} to {most:,} test images each."


def _origin(rows: Rows, recipes: Iterable[MergeRecipe]) -> Origin:
    """Return where the numbers of some recipes come from: the command prints them, as JSON."""
    chosen = list(recipes)
    command = compare_command(rows.evaluator, resources.suite_name(), chosen, None, rows.names)
    return facts.origin_of(rows.evaluator, [command], "", map(facts.recipe_in_words, chosen))
