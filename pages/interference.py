"""Interference: who disturbs whom, where in the model, and on which images, before and after RI."""

import streamlit as st

from ri_analysis import ui
from ri_analysis.ui import blame, blocks, drift, explain, images, plane, weight_space

st.title("Interference", anchor=False)
evaluator = ui.evaluator()
pair = ui.chosen_pair(evaluator)
st.markdown(f"Merged by {ui.describe(pair)}. Drift is always measured from the task's original expert.")
ui.no_resolved_yet(pair)


@st.fragment
def by_distance(drifts: drift.Drifts, stage: str) -> None:
    """Draw what depends on the choice of distance, so that another choice redraws nothing else."""
    distance = drift.distance_control(stage)
    drift.per_task(drifts, distance, stage)
    if stage == drift.LAST:
        st.header("Which images", anchor=False, divider="gray")
        images.images_section(evaluator, drifts, distance)


explain.section("How far each task has drifted", "drift")
progress, place = st.empty(), st.empty()
for stage, drifts in drift.stages(evaluator, pair, progress):
    with place.container():
        by_distance(drifts, stage)

explain.section("Who disturbs whom", "crosstalk")
ui.crosstalk.section(evaluator, pair)

explain.section("Where in the model it starts", "blocks")
blocks.by_block(evaluator, pair)

explain.section("Who is to blame", "blame")
blame.blame_section(evaluator, pair)

explain.section("Weight space", "weights")
weight_space.weight_space(evaluator, pair)

explain.section("The plane of two experts", "plane")
plane.plane_section(evaluator, pair)
