"""Resolve: adapt the experts by RI, and keep the result as a new expert set."""

import streamlit as st

from ri_analysis.ui import headings, opening, terms
from ri_analysis.views import resolving

st.title("Resolve", anchor=False)
evaluator = opening.evaluator()
terms.prose(
    "RI retrains each expert briefly on auxiliary images, so that it keeps its own task's predictions (keep) and no "
    "longer changes the other tasks' (free). The adapted experts then merge by any method. No labels and no task "
    "images are needed."
)
headings.contents()
resolving.runs(evaluator)
resolving.offer_unfinished(evaluator)
headings.header("A new expert set")
run = resolving.run_controls(evaluator)
if run is not None:
    resolving.start_button(evaluator, run)
headings.header("Expert sets made by RI")
resolving.past_sets(evaluator)
headings.header("Expert sets compared")
resolving.compared_sets(evaluator)
