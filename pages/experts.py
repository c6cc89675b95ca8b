"""Experts: open a suite, and see what each of its files is and what fine-tuning changed."""

import streamlit as st

from ri_analysis import ui

st.title("Experts", anchor=False)
ui.experts.open_another()
st.header(f"Open suite: {ui.experts.open_name()}", anchor=False, divider="gray")
report = ui.opening.open_report()
if not report.findings:
    st.markdown(ui.suite_in_words(ui.evaluator()))
ui.experts.check(report)
if report.files:
    st.header("What each file is", anchor=False, divider="gray")
    ui.experts.files(report)
if not report.findings:
    st.header("What fine-tuning changed", anchor=False, divider="gray")
    ui.experts.changes(ui.evaluator(), report)
