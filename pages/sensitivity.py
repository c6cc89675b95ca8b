"""Sensitivity: how carefully hyperparameters must be chosen, before and after RI."""

import streamlit as st

from ri_analysis import ui

st.title("Sensitivity", anchor=False)
evaluator = ui.evaluator()
pair = ui.chosen_pair(evaluator)
ui.prose(
    "How sensitive is accuracy to the settings? Two hyperparameters, or two experts' coefficients, are varied around "
    f"the recipe in the sidebar: {ui.describe(pair)}."
)
ui.no_resolved_yet(pair)
ui.contents()
ui.sensitivity.section(evaluator, pair)
