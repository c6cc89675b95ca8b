"""Merge: weigh the experts, and see what every task makes of it, with original and with RI-adapted experts."""

import streamlit as st

from ri_analysis import ui

st.title("Merge", anchor=False)
evaluator = ui.evaluator()
st.markdown(
    "Weigh each expert in the merge; method and λ are on the left. A coefficient multiplies the expert's task vector: "
    "0 leaves it without effect, a negative one pushes its task out of the model."
)
controls, results = st.columns([3, 7], gap="large")
with controls:
    title, button = st.columns([3, 2], vertical_alignment="center")
    title.subheader("Coefficients", anchor=False)
    button.button("Reset", on_click=ui.reset, width="stretch", help="All experts in, all coefficients 1, defaults")
    ui.coefficient_controls(evaluator)
    st.caption("A switch that is off leaves the expert and its task out, of the merge and of the means.")
    ui.method_details()
with results:
    pair = ui.chosen_pair(evaluator)
    ui.no_resolved_yet(pair)
    ui.subset_note(evaluator, pair)
    progress, shown = st.empty(), st.empty()
    for comparison in ui.stages(evaluator, pair, progress):
        with shown.container():
            ui.numbers(comparison)
            ui.by_task(comparison, stacked=True)
    st.markdown("**The same from a shell**")
    for recipe in pair.recipes:
        st.code(ui.command(recipe, ui.suite_name()), language="shell", wrap_lines=True)
    st.caption("The address of this page holds the whole recipe: copy it to come back here.")
