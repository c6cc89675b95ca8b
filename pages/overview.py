"""Overview: whether the suite's experts disturb each other, and what RI does about it."""

import streamlit as st

from ri_analysis import ui
from ri_analysis.analyses import find_analysis

st.title("Do these experts disturb each other?", anchor=False)
evaluator = ui.evaluator()
pair = ui.chosen_pair(evaluator)
answer, progress = st.empty(), st.empty()
for comparison in ui.stages(evaluator, pair, progress):
    with answer.container():
        ui.answer(comparison)
        ui.accuracy_figure(pair, comparison, "headline")
ui.measured_before(evaluator, pair)
ui.recipe_line(pair)
ui.no_resolved_yet(pair)
ui.contents()

ui.header("Task by task")
ui.by_task(pair, comparison)
ui.analysis.section(evaluator, pair, find_analysis("crosstalk"))

ui.header("More to try and to read")
ui.guide.welcome()
ui.prose(ui.suite_in_words(evaluator))
with st.expander("The suite in detail"):
    ui.facts.details(evaluator)
ui.formulas()
