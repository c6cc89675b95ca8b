"""Embeddings: the same images in the features of pretrained, experts, merged, and merged after RI."""

import streamlit as st

from ri_analysis import ui
from ri_analysis.ui import embeddings

st.title("Embeddings", anchor=False)
evaluator = ui.evaluator()
pair = ui.chosen_pair(evaluator)
ui.prose(f"Merged by {ui.describe(pair)}. Two models side by side, one selection.")
ui.no_resolved_yet(pair)
found = embeddings.embedded(evaluator, pair)
embeddings.explain(found.results.before.drawn)
embeddings.map_section(evaluator, found)

ui.header("How far features have drifted")
embeddings.sizes_section(found)
