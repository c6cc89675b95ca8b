"""Interference ξ, task by task."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from ri_analysis.figures.drift import drift_by_task

_NAMES = {"interference": "drift", "interference_low": "drift_low", "interference_high": "drift_high"}


def interference_by_task(before: pd.DataFrame, after: pd.DataFrame | None, *, dark: bool = False) -> go.Figure:
    """Bars of ξ_t per task before and after RI, with intervals; the arguments are evaluations' tables."""
    first, second = before.rename(columns=_NAMES), None if after is None else after.rename(columns=_NAMES)
    return drift_by_task(first, second, None, "nats", quantity="interference ξ", dark=dark)
