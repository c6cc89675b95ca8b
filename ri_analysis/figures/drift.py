"""Drift per task, with its change beside it."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ri_analysis.figures import look, words
from ri_analysis.figures.look import Role
from ri_analysis.sides import Sides


def drift_by_task(
    tables: Sides[pd.DataFrame],
    change: pd.DataFrame | None,
    unit: str,
    *,
    quantity: str = "drift",
    dark: bool = False,
) -> go.Figure:
    """Bars of drift per task before and after RI on one scale; beside them the paired change with its interval.

    `tables` are drift tables, `change` a drift change table (None for bars alone); `quantity` is what the axis calls
    the drift.
    """
    figure = make_subplots(cols=1 if change is None else 2, shared_yaxes=True, horizontal_spacing=0.05)
    for role, table in look.roles(tables):
        figure.add_bar(
            x=table["drift"],
            y=table["task"],
            orientation="h",
            name=role.name,
            marker_color=role.colour,
            error_x=look.error_bar(table, "drift", "drift_low", "drift_high", look.shades(dark).text),
            hovertext=_hover(table, role, quantity, unit),
            hovertemplate="%{hovertext}<extra></extra>",
            row=1,
            col=1,
        )
    if change is not None:
        _add_change(figure, change, unit, dark)
    rows = len(tables.before)
    look.finish(figure, dark=dark, height=104 + look.row_height(rows) * rows)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return figure.update_xaxes(title=f"{quantity} ({unit})", rangemode="tozero", col=1)


def _add_change(figure: go.Figure, change: pd.DataFrame, unit: str, dark: bool) -> None:
    shade = look.shades(dark)
    figure.add_scatter(
        x=change["change"],
        y=change["task"],
        mode="markers",
        showlegend=False,
        marker={"color": shade.text, "size": 8, "symbol": "diamond"},
        error_x=look.error_bar(change, "change", "change_low", "change_high", shade.text),
        hovertext=[_hover_change(row, unit) for row in change.to_dict(orient="records")],
        hovertemplate="%{hovertext}<extra></extra>",
        row=1,
        col=2,
    )
    figure.add_vline(x=0, line={"color": shade.muted, "width": 1}, row=1, col=2)
    figure.update_xaxes(title=f"change, after − before ({unit})", rangemode="tozero", col=2)


def _hover(table: pd.DataFrame, role: Role, quantity: str, unit: str) -> list[str]:
    return [
        f"<b>{row['task']}</b>, {role.name}<br>{quantity} {row['drift']:.4g} {unit} "
        f"(95% interval {row['drift_low']:.4g} to {row['drift_high']:.4g})<br>{words.count(row['n'], 'image')}"
        for row in table.to_dict(orient="records")
    ]


def _hover_change(row: dict[object, float], unit: str) -> str:
    text = f"<b>{row['task']}</b><br>{row['change']:+.4g} {unit} (95% interval {row['change_low']:+.4g} to "
    return f"{text}{row['change_high']:+.4g})<br>paired, {words.count(int(row['n']), 'image')}".replace("-", "−")
