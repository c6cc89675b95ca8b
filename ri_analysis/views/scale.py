"""Below the analysis `scale`: the λ found becomes that of the recipe."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ri_analysis.analyses import Answer
from ri_analysis.analyses.scale import chosen_scale
from ri_analysis.engine.grids import find_scale
from ri_analysis.merging import find_method
from ri_analysis.ui import recipes, state


def use(answer: Answer[pd.DataFrame]) -> None:
    """Draw a button for each λ found, which every page then merges at."""
    stages: dict[float, list[str]] = {}
    for stage, table in answer.results.stages.items():
        stages.setdefault(chosen_scale(table), []).append(stage)
    method = find_method(answer.recipes.before.method)
    item = find_scale(method)
    assert item is not None  # or the analysis had been refused
    places = st.columns(len(stages)) if len(stages) > 1 else [st.container()]
    for place, (value, found) in zip(places, stages.items(), strict=True):
        if place.button(
            f"Merge at λ = {value:g}, chosen {' and '.join(found)} RI",
            key=f"scale.use.{'.'.join(found)}",
            disabled=value == answer.recipes.before.scale,
            help="Every page then merges at this λ, before and after RI.",
            width="stretch",
        ):
            state.put(recipes.entry(method.name, item), state.text_of(value))
            st.rerun()  # the whole page: the rest of it shows the recipe too
