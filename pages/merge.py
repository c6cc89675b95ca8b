"""Merge: weigh the experts and see its effect on every task at once, with original and with RI-adapted experts."""

import streamlit as st

from ri_analysis import ui

st.title("Merge", anchor=False)
evaluator = ui.evaluator()
if ui.mergeable(evaluator):
    ui.prose(
        "Move λ or a coefficient: the bars follow, and once you let go all test images are measured. A coefficient "
        "multiplies the expert's task vector: 0 leaves it without effect, a negative one pushes its task out of the "
        "model."
    )
    ui.contents()
ui.live.opened(evaluator)
ui.live.section(evaluator)
if ui.mergeable(evaluator):
    ui.live.take_away(evaluator)
    ui.live.notes(evaluator)

    ui.header("Pinned recipes")
    ui.live.pins_section(evaluator)

    ui.header("The exact values as figures")
    ui.live.figures_section(evaluator)
ui.method_details()
