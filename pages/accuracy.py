"""Accuracy: zero-shot, expert, merged and merged after RI, task by task."""

import streamlit as st

from ri_analysis import figures, ui

st.title("Accuracy", anchor=False)
evaluator = ui.evaluator()
pair = ui.chosen_pair(evaluator)
st.markdown(f"Merged by {ui.describe(pair)}.")
ui.no_resolved_yet(pair)
normalised = ui.normalised_switch()
progress, shown = st.empty(), st.empty()
for comparison in ui.stages(evaluator, pair, progress):
    full = comparison.before.full
    with shown.container():
        ui.numbers(comparison)
        table, n = ui.accuracy_table(comparison), ui.resting_on(comparison.n, len(comparison.before.table), full)
        chart = figures.accuracy_bars(
            comparison.before.table, comparison.after_table, normalised=normalised, dark=ui.dark()
        )
        ui.figure(chart, ui.accuracy_help(normalised), table, n, "accuracy" if full else "accuracy-probe")
        ui.accuracy_dataframe(table, normalised, "accuracy-table" if full else "accuracy-table-probe")
