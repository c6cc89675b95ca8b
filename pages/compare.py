"""Compare: every recipe measured so far, and those one adds, in one table."""

import streamlit as st

from ri_analysis import ui

st.title("Compare", anchor=False)
evaluator = ui.evaluator()
ui.prose(
    "Every recipe measured so far on this suite, and those you add: accuracy, the worst task, interference, and the "
    "difference from a baseline on the same images."
)
ui.contents()
ui.comparing.section(evaluator)
