"""Accuracy: zero-shot, expert, merged and merged after RI, task by task."""

import streamlit as st

from ri_analysis import ui

st.title("Accuracy", anchor=False)
evaluator = ui.evaluator()
pair = ui.chosen_pair(evaluator)
ui.accuracy_page(evaluator, pair)
ui.recipe_line(pair)
ui.no_resolved_yet(pair)
