"""Studies: the paper's experiments on this suite."""

import streamlit as st

from ri_analysis.ui import opening
from ri_analysis.views import studies

st.title("Studies", anchor=False)
st.markdown(
    "The paper's experiments on this suite, before and after RI. Results are saved: stopped studies resume, "
    "here or on the command line."
)
studies.section(opening.evaluator())
