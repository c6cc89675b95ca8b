"""Interference over λ, from which one is chosen without labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ri_analysis.figures import look, words
from ri_analysis.figures.surfaces import Row, add_vertical, axis_scale
from ri_analysis.sides import Sides


def interference_by_scale(sides: Sides[pd.DataFrame], default: float, *, dark: bool = False) -> go.Figure:
    """Draw each side's interference on auxiliary images over λ, with its interval; a star marks the least."""
    figure = go.Figure()
    for role, table in look.roles(sides):
        figure.add_scatter(
            x=table["scale"],
            y=table["interference"],
            error_y=look.error_bar(table, "interference", "interference_low", "interference_high", role.colour),
            mode="lines+markers",
            name=role.name,
            line={"color": role.colour, "width": 2},
            marker={
                "symbol": ["star" if least else role.symbol for least in table["least"]],
                "size": [17 if least else 7 for least in table["least"]],
                "color": role.colour,
                "line": {"width": [1 if least else 0 for least in table["least"]], "color": "#FFFFFF"},
            },
            hovertext=[_hover(row, role.name) for row in table.to_dict(orient="records")],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    values = pd.concat(list(sides))["scale"].drop_duplicates().sort_values().to_numpy(float)
    add_vertical(figure, default, "default", look.shades(dark).muted, "dash", log=True)
    look.finish(figure, dark=dark, height=380)
    figure.update_xaxes(title="scaling coefficient λ", showgrid=False, **axis_scale(values))
    levels = pd.concat(list(sides))[["interference_low", "interference_high"]].to_numpy(float)
    figure.update_yaxes(
        title="interference on auxiliary images (nats)", **axis_scale(np.geomspace(levels.min(), levels.max(), 3))
    )
    return figure.update_layout(margin_t=60, legend={"y": 1.06})


def _hover(row: Row, name: str) -> str:
    interval = words.nats_range(row["interference_low"], row["interference_high"])
    change = words.nats_change_range(row["change_low"], row["change_high"])
    beside = "the lowest" if row["least"] else f"{words.nats_change(row['change'])} from the lowest ({change})"
    return (
        f"<b>λ = {row['scale']:.4g}</b>, {name}<br>ξ {words.nats(row['interference'])} ({interval})<br>"
        f"{beside}<br>{words.count(row['n'], 'image')}"
    )
