"""Interference ξ, task by task."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from ri_analysis.figures import look, words
from ri_analysis.figures.changes import ROW, under_names
from ri_analysis.figures.drift import drift_by_task
from ri_analysis.sides import Sides

_NAMES = {"interference": "drift", "interference_low": "drift_low", "interference_high": "drift_high"}


def interference_by_task(
    tables: Sides[pd.DataFrame], changes: pd.DataFrame | None = None, *, dark: bool = False
) -> go.Figure:
    """Bars of ξ_t per task before and after RI, with intervals.

    `tables` are evaluations' tables; `changes` is the change table of their interference, whose changes then stand
    below the tasks' names.
    """
    drifts = tables.map(lambda table: table.rename(columns=_NAMES))
    figure = drift_by_task(drifts, None, "nats", quantity="interference ξ", dark=dark)
    if changes is not None:
        tasks = list(tables.before["task"])
        names = under_names(tasks, changes, words.nats_change, dark=dark)
        figure.update_yaxes(tickvals=tasks, ticktext=names)
        figure.update_layout(height=104 + max(look.row_height(len(tasks)), ROW) * len(tasks))
    return figure
