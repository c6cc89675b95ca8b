"""Figures: what was pinned on other pages, sized for print, saved as files and as one report."""

import streamlit as st

from ri_analysis import ui

st.title("Figures", anchor=False)
st.markdown(
    "Figures you pin stay here as they were, with their table and how their numbers came about. Saved files are light, "
    "as wide as the venue's column, with text of 8 to 9 points and the font inside."
)
ui.figure_page.section()
