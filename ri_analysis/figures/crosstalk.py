"""Who disturbs whom."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from ri_analysis.figures.matrices import Axes, before_and_after, square

_AXES = Axes(
    "expert that disturbs",
    "task disturbed",
    "crosstalk",
    "expert <b>{row}</b> moves task <b>{column}</b>",
    "nats",
    own="expert <b>{row}</b> on its own task: what it learned, not interference",
)


def crosstalk_matrices(before: pd.DataFrame, after: pd.DataFrame | None, *, dark: bool = False) -> go.Figure:
    """Crosstalk matrices, expert (row) on task (column): before and after RI on one scale, and their difference.

    The arguments are crosstalk tables. The diagonal is what an expert learned, not interference: it is left empty,
    its value is in the hover, and it has no part in the colour scale.
    """
    tables = [table for table in (before, after) if table is not None]
    shown = [square(table, "crosstalk") for table in tables]
    ends = [(square(table, "crosstalk_low"), square(table, "crosstalk_high")) for table in tables]
    return before_and_after(shown[0], shown[1] if len(shown) > 1 else None, _AXES, ends, dark=dark)
