"""Drift per task, with its change beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ri_analysis.figures import changes, look, words
from ri_analysis.figures.look import Role
from ri_analysis.intervals import clear
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
    """Points with their intervals: dark where the interval excludes 0, grey and open where it does not."""
    shade = look.shades(dark)
    is_clear = clear(change["change_low"], change["change_high"])
    for part, colour, symbol in (
        (change[is_clear], shade.text, "diamond"),
        (change[~is_clear], shade.muted, "diamond-open"),
    ):
        figure.add_scatter(
            x=part["change"],
            y=part["task"],
            mode="markers",
            showlegend=False,
            marker={"color": colour, "size": 8, "symbol": symbol},
            error_x=look.error_bar(part, "change", "change_low", "change_high", colour),
            hovertext=[f"<b>{row['task']}</b><br>{_in_words(row, unit)}" for row in part.to_dict(orient="records")],
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


def _in_words(row: Mapping[Any, Any], unit: str) -> str:
    text = changes.in_words(row, lambda value: words.signed(value, "+.4g"))
    return f"{text}<br>in {unit}, {words.count(int(row['n']), 'image')}"
