"""Resolve: adapt the experts by RI, and keep the result as a new expert set."""

import streamlit as st

from ri_analysis import ui

st.title("Resolve", anchor=False)
evaluator = ui.evaluator()
ui.prose(
    "RI retrains each expert briefly on auxiliary images, so that it keeps its own task's predictions (keep) and no "
    "longer changes the other tasks' (free). The adapted experts then merge by any method. No labels and no task "
    "images are needed."
)
ui.contents()
ui.resolving.runs(evaluator)
ui.resolving.offer_unfinished(evaluator)
ui.header("A new expert set")
run = ui.resolving.run_controls(evaluator)
if run is not None:
    ui.resolving.start_button(evaluator, run)
ui.header("Expert sets made by RI")
ui.resolving.past_sets(evaluator)
ui.header("Expert sets compared")
ui.resolving.compared_sets(evaluator)
