"""Experts: open a suite, and see what each of its files is and what fine-tuning changed."""

import streamlit as st

from ri_analysis.export.facts import suite_in_words
from ri_analysis.ui import headings, opening, terms
from ri_analysis.views import experts

st.title("Experts", anchor=False)
headings.contents()
experts.open_another()
headings.header(f"Current suite: {experts.open_name()}")
report = opening.open_report()
if not report.findings:
    terms.prose(suite_in_words(opening.evaluator()))
experts.check(report)
if report.files:
    headings.header("What each file is")
    experts.files(report)
if not report.findings:
    headings.header("What fine-tuning changed")
    experts.changes(opening.evaluator(), report)
