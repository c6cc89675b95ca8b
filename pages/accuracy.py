"""Accuracy: zero-shot, expert, merged and merged after RI, task by task."""

import streamlit as st

from ri_analysis.ui import choosing, opening, sections

st.title("Accuracy", anchor=False)
evaluator = opening.evaluator()
pair = choosing.chosen_pair(evaluator)
sections.accuracy_page(evaluator, pair)
sections.recipe_line(pair)
sections.no_resolved_yet(pair)
