"""What fine-tuning changed: how much in each block, and how much the changes point the same way."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from ri_analysis.figures.matrices import Axes, before_and_after
from ri_analysis.sides import Sides

HOW_COSINES = (
    "Cosine of two task vectors: at 0 two experts changed the weights in unrelated directions; above 0 (purple) in "
    "similar ones, below 0 (green) in opposite ones."
)
OUTSIDE = "other"  # what is outside the transformer blocks


def norms_by_block(tables: Sides[pd.DataFrame], *, dark: bool = False) -> go.Figure:
    """‖τ_t‖ / ‖θ₀‖ of every expert (row) in every block (column); tables as `Gram.norm_table` returns them."""
    unit = "% of the pretrained length"
    axes = Axes("expert", "transformer block", "length of the task vector", "<b>{row}</b>, block {column}", unit)
    return before_and_after(tables.map(_norms), axes, dark=dark)


def cosine_matrices(tables: Sides[pd.DataFrame], *, dark: bool = False) -> go.Figure:
    """cos(τ_i, τ_j) of every pair of experts; tables as `Gram.cosine_table` returns them."""
    cell = "<b>{row}</b> and <b>{column}</b>"
    axes = Axes("expert", "expert", "cosine", cell, own="<b>{row}</b> with itself", signed=True)
    return before_and_after(tables.map(_cosines), axes, dark=dark)


def _norms(table: pd.DataFrame) -> pd.DataFrame:
    cells = 100 * table.pivot(index="task", columns="block", values="share")
    cells = cells.loc[list(dict.fromkeys(table["task"]))].sort_index(axis=1)
    return cells.rename(columns=lambda block: str(block) if block else OUTSIDE)


def _cosines(table: pd.DataFrame) -> pd.DataFrame:
    names = list(dict.fromkeys(table["expert"]))
    return table.pivot(index="expert", columns="other", values="cosine").loc[names, names]
