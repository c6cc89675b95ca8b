"""Experts: open a suite, and see what each of its files is and what fine-tuning changed."""

import streamlit as st

from ri_analysis import ui

st.title("Experts", anchor=False)
ui.contents()
ui.experts.open_another()
ui.header(f"Open suite: {ui.experts.open_name()}")
report = ui.opening.open_report()
if not report.findings:
    ui.prose(ui.suite_in_words(ui.evaluator()))
ui.experts.check(report)
if report.files:
    ui.header("What each file is")
    ui.experts.files(report)
if not report.findings:
    ui.header("What fine-tuning changed")
    ui.experts.changes(ui.evaluator(), report)
