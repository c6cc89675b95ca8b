"""Overview: whether the suite's experts disturb each other, and what RI does about it."""

import streamlit as st

from ri_analysis.analyses import find_analysis
from ri_analysis.export.facts import suite_in_words
from ri_analysis.ui import analysis, choosing, explain, facts, guide, headings, measuring, opening, sections, terms

st.title("Do these experts disturb each other?", anchor=False)
evaluator = opening.evaluator()
pair = choosing.chosen_pair(evaluator)
answer, progress = st.empty(), st.empty()
for comparison in measuring.stages(evaluator, pair, progress):
    with answer.container():
        sections.answer(comparison)
        sections.accuracy_figure(pair, comparison, "headline")
sections.measured_before(evaluator, pair)
sections.recipe_line(pair)
sections.no_resolved_yet(pair)
headings.contents()

headings.header("Task by task")
sections.by_task(pair, comparison)
analysis.section(evaluator, pair, find_analysis("crosstalk"))

headings.header("Next steps and details")
guide.welcome()
terms.prose(suite_in_words(evaluator))
with st.expander("The suite in detail"):
    facts.details(evaluator)
explain.formulas()
