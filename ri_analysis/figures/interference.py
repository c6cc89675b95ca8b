"""Interference ξ, task by task."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from ri_analysis.figures.drift import drift_by_task
from ri_analysis.sides import Sides

_NAMES = {"interference": "drift", "interference_low": "drift_low", "interference_high": "drift_high"}


def interference_by_task(tables: Sides[pd.DataFrame], *, dark: bool = False) -> go.Figure:
    """Bars of ξ_t per task before and after RI, with intervals; `tables` are evaluations' tables."""
    drifts = tables.map(lambda table: table.rename(columns=_NAMES))
    return drift_by_task(drifts, None, "nats", quantity="interference ξ", dark=dark)
