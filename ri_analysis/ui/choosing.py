"""Choosing experts in place, where those switched on can't be merged by the chosen method."""

from __future__ import annotations

import streamlit as st

from ri_analysis.engine import Evaluator
from ri_analysis.figures import words
from ri_analysis.ui import frame, recipes, state


def chosen_pair(evaluator: Evaluator) -> recipes.Pair:
    """Return the recipes to compare; where the choice makes none, the page offers another and goes no further."""
    if not mergeable(evaluator):
        offer(evaluator)
        raise frame.PageEnd
    return recipes.chosen_pair(evaluator)


def mergeable(evaluator: Evaluator) -> bool:
    """Whether the experts switched on can be merged by the chosen method."""
    return not recipes.unmergeable(recipes.chosen_method(), recipes.chosen_tasks(evaluator))


def offer(evaluator: Evaluator) -> None:
    """Say why the experts switched on can't be merged, and let the reader choose others."""
    method, possible = recipes.chosen_method(), recipes.possible_tasks(evaluator)
    low, high = method.counts
    st.markdown(recipes.unmergeable(method, recipes.chosen_tasks(evaluator)))
    if len(possible) < low:
        st.markdown(f"The suite has {words.count(len(possible), 'expert')}: choose another method in the sidebar.")
        return
    on = recipes.chosen_tasks(evaluator) or possible
    preset = (*on, *(task for task in possible if task not in on))[: low if len(on) < low else high]
    with st.form("choosing", border=False, enter_to_submit=True):
        wanted = st.multiselect(
            "Experts to merge", possible, preset, max_selections=high, key=f"choosing.{method.name}"
        )
        if st.form_submit_button("Merge these", type="primary", key="choosing.merge"):
            if recipes.unmergeable(method, wanted):
                st.caption(f"Choose {low - len(wanted)} more.")
                return
            state.put(recipes.OFF, ",".join(task for task in possible if task not in wanted) or None)
            st.rerun()
