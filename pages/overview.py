"""Overview: what the suite is, how its experts disturb each other, and what RI does about it."""

import streamlit as st

from ri_analysis import ui
from ri_analysis.analyses import find_analysis

st.title("Do these experts disturb each other?", anchor=False)
evaluator, pair = ui.evaluator(), None
ui.guide.welcome()
st.markdown(ui.suite_in_words(evaluator))
ui.concepts()
with st.expander("The suite in detail"):
    ui.facts.details(evaluator)
ui.no_resolved_yet(pair := ui.chosen_pair(evaluator))

st.header("Before and after RI", anchor=False, divider="gray")
st.markdown(f"Merged by {ui.describe(pair)}. Change the method on the left.")
numbers, progress, by_task = st.empty(), st.empty(), st.empty()
for comparison in ui.stages(evaluator, pair, progress):
    with numbers.container():
        ui.numbers(comparison)
        ui.accuracy_figure(pair, comparison, "headline")
with by_task.container():
    ui.by_task(pair, comparison)
ui.measured_before(evaluator, pair)

ui.analysis.section(evaluator, pair, find_analysis("crosstalk"))
