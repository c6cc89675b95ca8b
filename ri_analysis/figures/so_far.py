"""The merges of a study that have been measured, while it is under way."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from ri_analysis.figures import look, words
from ri_analysis.figures.look import AFTER, BEFORE

_ROLES = {"before": BEFORE, "after": AFTER}


def measured_so_far(table: pd.DataFrame, *, dark: bool = False) -> go.Figure:
    """One dot a merge: its accuracy over its interference.

    `table` has the columns `stage` (before, after RI), `on` (which images), `accuracy`, `interference` (nats), `n` and
    `recipe`, in words.
    """
    figure = go.Figure()
    for stage, role in _ROLES.items():
        part = table[table["stage"] == stage]
        figure.add_scatter(
            x=part["interference"],
            y=part["accuracy"],
            mode="markers",
            name=role.name,
            marker={"color": role.colour, "symbol": role.symbol, "size": 8, "opacity": 0.75},
            hovertext=[
                f"<b>{row['recipe']}</b><br>{words.percent(row['accuracy'])}, ξ {words.nats(row['interference'])}<br>"
                f"{words.count(row['n'], row['on'] + ' image')}"
                for row in part.to_dict(orient="records")
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    look.finish(figure, dark=dark, height=360)
    figure.update_xaxes(title="mean interference ξ (nats)", rangemode="tozero", showgrid=False)
    return figure.update_yaxes(title="mean accuracy over tasks", tickformat=".0%")
