"""Studies: the paper's experiments on this suite."""

import streamlit as st

from ri_analysis import ui

st.title("Studies", anchor=False)
st.markdown(
    "The paper's experiments on this suite, before and after RI. What is measured is kept: a study that was stopped "
    "goes on where it was, here or from a shell."
)
ui.studies.section(ui.evaluator())
