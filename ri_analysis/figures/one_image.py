"""One image: the probabilities that models give classes, and where in the tower the merged model departs."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from ri_analysis.figures import look, words
from ri_analysis.figures.look import Role
from ri_analysis.sides import Sides

_BLOCKS = 15  # of which every one is labelled


def answers(table: pd.DataFrame, roles: Mapping[str, Role], *, dark: bool = False) -> go.Figure:
    """Draw a row for each class, with the probability that each model gives it; `roles` by the model's column."""
    figure, places = go.Figure(), list(range(len(table)))
    for name, role in roles.items():
        line = {"width": 3 if role.symbol == "line-ns" else 0, "color": role.colour}
        figure.add_scatter(
            x=table[name],
            y=places,
            mode="markers",
            name=role.name,
            marker={"symbol": role.symbol, "size": 13, "color": role.colour, "line": line},
            hovertext=[
                f"<b>{label}</b><br>{role.name}: {words.percent(value)}"
                for label, value in zip(table["class"], table[name], strict=True)
            ],
            hovertemplate="%{hovertext}<extra></extra>",
            cliponaxis=False,
        )
    look.finish(figure, dark=dark, height=130 + 30 * len(table))
    named = [
        f"<b>{label} ✓</b>" if right else label for label, right in zip(table["class"], table["right"], strict=True)
    ]
    figure.update_yaxes(tickvals=places, ticktext=named, range=[len(table) - 0.5, -0.5], zeroline=False)
    return figure.update_xaxes(title="probability", tickformat=".0%", range=[-0.02, 1.02], zeroline=False)


def departures(sides: Sides[pd.DataFrame], *, dark: bool = False) -> go.Figure:
    """Draw each side's distance of the class tokens from the expert's over the blocks."""
    figure = go.Figure()
    for role, table in look.roles(sides):
        figure.add_scatter(
            x=table["block"],
            y=table["drift"],
            mode="lines+markers",
            name=role.name,
            line={"color": role.colour, "width": 2},
            marker={"symbol": role.symbol, "size": 8, "color": role.colour},
            hovertemplate=f"{role.name}<br>after block %{{x}}: %{{y:.3g}}<extra></extra>",
        )
    look.finish(figure, dark=dark, height=300)
    step = 1 if len(sides.before) <= _BLOCKS else 2
    figure.update_xaxes(title="after block", dtick=step, showgrid=False)
    return figure.update_yaxes(title="1 − cosine of class tokens", rangemode="tozero")
