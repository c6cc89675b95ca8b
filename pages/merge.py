"""Merge: weigh the experts and see its effect on every task at once, with original and with RI-adapted experts."""

import streamlit as st

from ri_analysis.ui import choosing, explain, headings, opening, terms
from ri_analysis.views import live

st.title("Merge", anchor=False)
evaluator = opening.evaluator()
if choosing.mergeable(evaluator):
    terms.prose(
        "Move λ or a coefficient: the bars follow as you drag, and all test images are measured when you let go. A "
        "coefficient multiplies the expert's task vector: 0 removes its effect, a negative value pushes its task out "
        "of the model."
    )
    headings.contents()
live.opened(evaluator)
live.section(evaluator)
if choosing.mergeable(evaluator):
    live.take_away(evaluator)
    live.notes(evaluator)

    headings.header("Pinned recipes")
    live.pins_section(evaluator)

    headings.header("Exact results")
    live.figures_section(evaluator)
explain.method_details()
