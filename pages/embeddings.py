"""Embeddings: the same images in the features of pretrained, experts, merged, and merged after RI."""

import streamlit as st

from ri_analysis.ui import choosing, headings, opening, recipes, sections, terms
from ri_analysis.views import embeddings

st.title("Embeddings", anchor=False)
evaluator = opening.evaluator()
pair = choosing.chosen_pair(evaluator)
terms.prose(f"Merged by {recipes.describe(pair)}. The same images in several models, with one shared selection.")
sections.no_resolved_yet(pair)
found = embeddings.embedded(evaluator, pair)
embeddings.explain(found.results.before.drawn)
embeddings.map_section(evaluator, found)

headings.header("How far features have drifted")
embeddings.sizes_section(found)
