"""Merge: weigh the experts and see its effect on every task at once, with original and with RI-adapted experts."""

import streamlit as st

from ri_analysis.ui import choosing, explain, headings, opening, terms
from ri_analysis.views import live

st.title("Merge", anchor=False)
evaluator = opening.evaluator()
if choosing.mergeable(evaluator):
    terms.prose(
        "Move λ or a coefficient: the bars follow, and once you let go all test images are measured. A coefficient "
        "multiplies the expert's task vector: 0 leaves it without effect, a negative one pushes its task out of the "
        "model."
    )
    headings.contents()
live.opened(evaluator)
live.section(evaluator)
if choosing.mergeable(evaluator):
    live.take_away(evaluator)
    live.notes(evaluator)

    headings.header("Pinned recipes")
    live.pins_section(evaluator)

    headings.header("The exact values as figures")
    live.figures_section(evaluator)
explain.method_details()
