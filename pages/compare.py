"""Compare: every recipe measured so far, and those one adds, in one table."""

import streamlit as st

from ri_analysis.ui import headings, opening, terms
from ri_analysis.views import comparing

st.title("Compare", anchor=False)
evaluator = opening.evaluator()
terms.prose(
    "Every recipe measured so far on this suite, and those you add: accuracy, the worst task, interference, and the "
    "difference from a baseline on the same images."
)
headings.contents()
comparing.section(evaluator)
