"""Figures: what was pinned on other pages, sized for print, saved as files and as one report."""

import streamlit as st

from ri_analysis.ui import opening
from ri_analysis.views import figure_page

st.title("Figures", anchor=False)
st.markdown(
    "Press **Pin** below a figure on any page to keep it here, and save it for a paper or slides, or all of them as "
    "one report."
)
figure_page.section(opening.evaluator())
