"""Sensitivity: how carefully hyperparameters must be chosen, before and after RI."""

import streamlit as st

from ri_analysis.analyses import on_page
from ri_analysis.ui import analysis, choosing, headings, opening, recipes, sections, terms
from ri_analysis.views import scale, sensitivity

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
below = {"scale": scale.use}
for each in on_page("sensitivity"):
    analysis.section(evaluator, pair, each, below.get(each.name))
sensitivity.methods_together(evaluator)
