"""The app: navigation, and one frame around every page."""

import streamlit as st

from ri_analysis import views
from ri_analysis.ui import shell

views.load()
st.set_page_config(page_title="ri-analysis", page_icon=shell.ICON, layout="wide")
PAGES = [
    st.Page("pages/overview.py", title="Overview", icon=":material/dashboard:", default=True),
    st.Page("pages/merge.py", title="Merge", icon=":material/merge:"),
    st.Page("pages/accuracy.py", title="Accuracy", icon=":material/target:"),
    st.Page("pages/interference.py", title="Interference", icon=":material/blur_on:"),
    st.Page("pages/compare.py", title="Compare", icon=":material/table_chart:"),
    st.Page("pages/sensitivity.py", title="Sensitivity", icon=":material/landscape:"),
    st.Page("pages/studies.py", title="Studies", icon=":material/science:"),
    st.Page("pages/embeddings.py", title="Embeddings", icon=":material/scatter_plot:"),
    st.Page("pages/experts.py", title="Experts", icon=":material/folder_open:"),
    st.Page("pages/resolve.py", title="Resolve", icon=":material/healing:"),
    st.Page("pages/figures.py", title="Figures", icon=":material/keep:"),
]
shell.run(PAGES)
