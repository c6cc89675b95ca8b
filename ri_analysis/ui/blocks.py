"""After which block the merged model and the experts part."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ri_analysis.engine import Evaluator
from ri_analysis.engine.blocks import BLOCK_LIMIT, drift_by_block
from ri_analysis.errors import InputError
from ri_analysis.figures import words
from ri_analysis.figures.matrices import Axes, before_and_after
from ri_analysis.ui import frame, kept, resources
from ri_analysis.ui.measuring import Meter, memory_key
from ri_analysis.ui.recipes import Pair

_VIEW = "interference.block"
_VIEWS = {"cka": "1 − linear CKA", "distance": "normalised distance"}
_HOW = {
    "cka": "Read each row from left to right: where the colour sets in, the merged model's view of that task's images "
    "parts from the expert's; 0 is the same geometry up to rotation and scale. Both matrices share one scale.",
    "distance": "Read each row from left to right: how far an image's class token has moved, in units of the typical "
    "distance of an image from the average image. Both matrices share one scale.",
}


@st.fragment
def by_block(evaluator: Evaluator, pair: Pair) -> None:
    """Draw the drift after each transformer block, task by task."""
    slot = st.empty()
    try:
        tables = _block_tables(evaluator, pair, slot)
    except InputError as error:
        st.caption(f"Not for this suite: {error}")
        return
    view = kept.titled(st.segmented_control, "Compared by", _VIEW, _VIEWS, required=True)
    order = list(dict.fromkeys(tables[0]["task"]))
    grids, ends = [], []
    for table in tables:
        low, value, high = (
            table.pivot(index="task", columns="block", values=f"{view}{end}").reindex(order)
            for end in ("_low", "", "_high")
        )
        grids.append(value)
        ends.append((low, high))
    axes = Axes("task", "after block", _VIEWS[view], "<b>{row}</b>, after block {column}")
    chart = before_and_after(grids[0], grids[1] if len(grids) > 1 else None, axes, ends, dark=frame.dark())
    n = f"Rests on up to {words.count(int(tables[0]['n'].max()), 'image')} a task; intervals on hover."
    frame.figure(chart, _HOW[view], pair.stacked(tables), n, "drift-by-block")


def _block_tables(evaluator: Evaluator, pair: Pair, slot: DeltaGenerator) -> list[pd.DataFrame]:
    with Meter("Looking inside the blocks", slot) as meter:
        return [
            resources.remembered(
                memory_key("blocks", evaluator, recipe, BLOCK_LIMIT),
                partial(drift_by_block, evaluator, recipe, progress=meter),
            )
            for recipe in pair.recipes
        ]
