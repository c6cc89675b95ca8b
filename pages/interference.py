"""Interference: who disturbs whom, where in the model, and on which images, before and after RI."""

from functools import partial

import streamlit as st

from ri_analysis import ui
from ri_analysis.analyses import on_page

st.title("Interference", anchor=False)
evaluator = ui.evaluator()
pair = ui.chosen_pair(evaluator)
ui.prose(f"Merged by {ui.describe(pair)}. Drift is always measured from the task's original expert.")
ui.contents()
ui.no_resolved_yet(pair)
below = {"drift": partial(ui.images_section, evaluator)}
for analysis in on_page("interference"):
    ui.analysis.section(evaluator, pair, analysis, below.get(analysis.name))
