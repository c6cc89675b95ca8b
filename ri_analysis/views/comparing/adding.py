"""Adding recipes: any methods × expert sets × values of one setting, or a line of text."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from ri_analysis.engine import Evaluator
from ri_analysis.engine.recipe_texts import expand, written
from ri_analysis.errors import InputError
from ri_analysis.figures import words
from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging import METHODS, MergeRecipe
from ri_analysis.ui import choosing, frame, recipes, resources
from ri_analysis.views.comparing import board

_DEFAULT, _SIDEBAR, _SWEEP = "the defaults", "as in the sidebar", "a sweep of one setting"
_SAID = "ri.compare.said"
_MOST = 1000  # recipes added at once


def section(evaluator: Evaluator) -> None:
    """Draw the ways to add recipes, folded up."""
    with st.expander("Add recipes", icon=":material/add:"):
        _quick(evaluator)
        _any(evaluator)
        _as_text(evaluator)
        if said := st.session_state.pop(_SAID, ""):
            st.caption(said)


def _quick(evaluator: Evaluator) -> None:
    """Draw the buttons for what is asked most."""
    with st.container(horizontal=True):
        st.button(
            "All methods at their defaults",
            key="compare.add.all",
            on_click=_add,
            args=(["all experts=all"],),
            help="Every method, with every expert set",
        )
        if choosing.mergeable(evaluator):
            pair = recipes.chosen_pair(evaluator)
            sets = [pair.before.with_experts(name) for name in evaluator.suite.expert_sets]
            there = [each for each in sets if set(each.tasks) <= set(evaluator.suite.set_tasks(each.experts))]
            st.button(
                "The sidebar's recipe for every expert set",
                key="compare.add.sets",
                on_click=_add,
                args=([written(recipe, evaluator.suite) for recipe in there],),
            )


def _any(evaluator: Evaluator) -> None:
    """Draw the choice of methods, expert sets and settings, and the button that adds all combinations."""
    possible = [name for name, method in METHODS.items() if method.merges(len(evaluator.suite.tasks))]
    left, right = st.columns(2)
    methods = left.multiselect(
        "Methods",
        possible,
        [recipes.chosen_method().name] if recipes.chosen_method().name in possible else [],
        format_func=lambda name: METHODS[name].title,
        key="compare.add.methods",
    )
    sets = right.multiselect(
        "Expert sets", evaluator.suite.expert_sets, evaluator.suite.expert_sets, key="compare.add.experts"
    )
    how = st.segmented_control(
        "Settings", (_DEFAULT, _SIDEBAR, _SWEEP), default=_DEFAULT, required=True, key="compare.add.settings"
    )
    found = {item.name: item for name in methods for item in METHODS[name].hyperparameters}
    sweep = _sweep(found) if how == _SWEEP else None
    texts = [
        " ".join([name, f"experts={','.join(sets)}", *_settings(name, str(how), sweep)])
        for name in methods
        if sets and (how != _SWEEP or (sweep is not None and sweep[0] in _names(name)))
    ]
    st.button("Add", key="compare.add", on_click=_add, args=(texts,), disabled=not texts, type="primary")


def _names(method: str) -> list[str]:
    return [item.name for item in METHODS[method].hyperparameters]


def _settings(method: str, how: str, sweep: tuple[str, str] | None) -> list[str]:
    if sweep is not None:
        return ["=".join(sweep)]
    if how != _SIDEBAR:
        return []
    values = recipes.chosen_settings(method, METHODS[method].hyperparameters)
    return [f"{name}={value}" for name, value in values.items()]


def _sweep(items: dict[str, Hyperparameter]) -> tuple[str, str] | None:
    """Draw the choice of a setting and its values; return both as texts."""
    if not items:
        st.caption("None of these methods has a setting.")
        return None
    columns = st.columns([2, 1, 1, 1], vertical_alignment="bottom")
    name = str(columns[0].selectbox("Setting", list(items), format_func=lambda one: items[one].heading))
    item = items[name]
    if item.choices:
        return name, ",".join(item.choices)
    low, high = item.sweep or (item.low, item.high)
    whole = isinstance(item.default, int)
    field: dict[str, Any] = {} if whole else {"format": "%.6g"}
    kind = int if whole else float
    start = columns[1].number_input("From", value=kind(low), key=f"compare.from.{name}", **field)
    end = columns[2].number_input("To", value=kind(high), key=f"compare.to.{name}", **field)
    count = columns[3].number_input("Values", 2, 50, 5, key="compare.values")
    spaced = np.geomspace if item.log and start > 0 and end > 0 else np.linspace
    values = [kind(float(f"{value:.6g}")) for value in spaced(start, end, int(count))]
    return name, ",".join(str(value) for value in dict.fromkeys(values))


def _as_text(evaluator: Evaluator) -> None:
    with st.form("compare.text", border=False, clear_on_submit=False):
        left, right = st.columns([5, 1], vertical_alignment="bottom")
        text = left.text_input(
            "Or as text, as on the command line",
            key="compare.add.text",
            placeholder="ties,tsv-m experts=all scale=0.2,0.3,0.4",
            help="METHOD[,METHOD…] [experts=A,B] [HYPERPARAMETER=V1,V2…] [tasks=A,B] [coefficient.TASK=V] [seed=0,1]; "
            "every combination is added. `all` is every method, or every expert set.",
        )
        if right.form_submit_button("Add", key="compare.add.submit", width="stretch") and text:
            _add([str(text)])
            st.rerun()


def _add(texts: list[str]) -> None:
    """Callback: add recipes that are not there yet, and say how many, or what is wrong with them."""
    evaluator = resources.evaluator()
    try:
        found = [recipe for text in texts for recipe in expand(evaluator, text)]
    except InputError as error:
        st.session_state[_SAID] = f":material/warning: {frame.plain(str(error))}"
        return
    if len(found) > _MOST:
        st.session_state[_SAID] = f"These are {len(found):,} recipes; add at most {_MOST:,} at a time."
        return
    added = put(evaluator, found)
    st.session_state[_SAID] = f"{words.count(len(found), 'recipe')}, {added} of them new in the table."


def put(evaluator: Evaluator, found: list[MergeRecipe]) -> int:
    """Put recipes on the board, shown again where they were hidden; return how many were not on it."""
    new = dict.fromkeys(written(recipe, evaluator.suite) for recipe in found)
    count = len([text for text in new if text not in board.read().added])

    def edit(kept: board.Board) -> None:
        kept.added += [text for text in new if text not in kept.added]
        kept.hidden = [text for text in kept.hidden if text not in new]

    board.change(edit)
    return count
