"""Interference: who disturbs whom, where in the model, and on which images, before and after RI."""

from functools import partial

import streamlit as st

from ri_analysis.analyses import on_page
from ri_analysis.ui import analysis, choosing, headings, opening, recipes, sections, terms
from ri_analysis.views import images

st.title("Interference", anchor=False)
evaluator = opening.evaluator()
pair = choosing.chosen_pair(evaluator)
terms.prose(f"Merged by {recipes.describe(pair)}. Drift is always measured from the task's original expert.")
headings.contents()
sections.no_resolved_yet(pair)
below = {"drift": partial(images.images_section, evaluator)}
for each in on_page("interference"):
    analysis.section(evaluator, pair, each, below.get(each.name))
