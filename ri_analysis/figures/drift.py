"""Drift: per task with its change beside it, and over the images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ri_analysis.figures import look, words
from ri_analysis.figures.look import AFTER, BEFORE, Role

Values = npt.NDArray[np.floating]
_BINS, _PER_BIN = 40, 6  # bins at most, and images for each of them at least


def drift_by_task(
    before: pd.DataFrame,
    after: pd.DataFrame | None,
    change: pd.DataFrame | None,
    unit: str,
    *,
    quantity: str = "drift",
    dark: bool = False,
) -> go.Figure:
    """Bars of drift per task before and after RI on one scale; beside them the paired change with its interval.

    `before` and `after` are drift tables (None where there is no RI set), `change` a drift change table (None for bars
    alone); `quantity` is what the axis calls the drift.
    """
    wide = after is not None and change is not None
    figure = make_subplots(cols=2 if wide else 1, shared_yaxes=True, horizontal_spacing=0.05)
    for role, table in ((BEFORE, before), (AFTER, after)):
        if table is not None:
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
    if change is not None and wide:
        _add_change(figure, change, unit, dark)
    look.finish(figure, dark=dark, height=104 + look.row_height(len(before)) * len(before))
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


def drift_histogram(before: Values, after: Values | None, unit: str, *, dark: bool = False) -> go.Figure:
    """Share of images by drift, before and after RI in the same bins; the last bin holds all beyond it."""
    shown = [values for values in (before, after) if values is not None]
    top = float(np.quantile(np.concatenate(shown), 0.99)) or 1.0
    edges = np.linspace(0, top, min(_BINS, max(8, len(before) // _PER_BIN)) + 1)
    figure = go.Figure()
    for role, values in ((BEFORE, before), (AFTER, after)):
        if values is not None:
            counts, _ = np.histogram(np.clip(values, 0, top), edges)
            of = words.count(len(values), "image")
            figure.add_scatter(
                x=np.repeat(edges, 2)[1:-1],
                y=np.repeat(counts / len(values), 2),
                mode="lines",
                name=role.name,
                line={"color": role.colour, "width": 2},
                fill="tozeroy",
                fillcolor=look.faint(role.colour),
                hovertemplate=f"%{{y:.1%}} of {of} near %{{x:.3g}} {unit}<extra></extra>",
            )
    look.finish(figure, dark=dark, height=280)
    figure.update_yaxes(title="share of images", tickformat=".0%", rangemode="tozero")
    return figure.update_xaxes(title=f"drift ({unit})", showgrid=False)


def _hover(table: pd.DataFrame, role: Role, quantity: str, unit: str) -> list[str]:
    return [
        f"<b>{row['task']}</b>, {role.name}<br>{quantity} {row['drift']:.4g} {unit} "
        f"(95% interval {row['drift_low']:.4g} to {row['drift_high']:.4g})<br>{words.count(row['n'], 'image')}"
        for row in table.to_dict(orient="records")
    ]


def _hover_change(row: dict[object, float], unit: str) -> str:
    text = f"<b>{row['task']}</b><br>{row['change']:+.4g} {unit} (95% interval {row['change_low']:+.4g} to "
    return f"{text}{row['change_high']:+.4g})<br>paired, {words.count(int(row['n']), 'image')}".replace("-", "−")
