"""Sensitivity: how carefully hyperparameters must be chosen, before and after RI."""

import streamlit as st

from ri_analysis.ui import choosing, headings, opening, recipes, sections, terms
from ri_analysis.views import sensitivity

st.title("Sensitivity", anchor=False)
evaluator = opening.evaluator()
pair = choosing.chosen_pair(evaluator)
terms.prose(
    "How sensitive is accuracy to the settings? Two hyperparameters, or two experts' coefficients, are varied around "
    f"the recipe in the sidebar: {recipes.describe(pair)}."
)
sections.no_resolved_yet(pair)
headings.contents()
sensitivity.section(evaluator, pair)
sensitivity.methods_together(evaluator)
