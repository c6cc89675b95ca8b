"""Figures: what was pinned on other pages, sized for print, saved as files and as one report."""

import streamlit as st

from ri_analysis import ui

st.title("Figures", anchor=False)
st.markdown(
    "Figures you pin stay here as they were, with their table and how they were computed. Saved files use the light "
    "theme, are as wide as the venue's column, and have text of 8 to 9 points with the font embedded."
)
ui.figure_page.section()
