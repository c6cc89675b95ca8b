"""Accuracy: means, and task by task."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ri_analysis.figures import look, words
from ri_analysis.figures.changes import ROW, hover_lines, under_names
from ri_analysis.figures.look import EXPERT, ZERO_SHOT, Role
from ri_analysis.sides import Sides

# Columns of an evaluation's table that hold each reference model's accuracy.
_REFERENCES = ((ZERO_SHOT, "zero_shot_accuracy"), (EXPERT, "expert_accuracy"))


def accuracy_by_task(
    tables: Sides[pd.DataFrame], changes: pd.DataFrame | None = None, *, dark: bool = False
) -> go.Figure:
    """One row per task: zero-shot to expert as a band, the merged models as points with their intervals.

    `tables` are evaluations' tables of the same tasks; `changes` is the change table of their accuracies, whose changes
    then stand below the tasks' names.
    """
    before = tables.before
    figure, band = go.Figure(), {"color": look.shades(dark).band, "width": 9}
    rows = list(range(len(before)))
    for row, (low, high) in enumerate(zip(before["zero_shot_accuracy"], before["expert_accuracy"], strict=True)):
        figure.add_shape(type="line", x0=low, x1=high, y0=row, y1=row, line=band, layer="below")
    for role, column in _REFERENCES:
        mark = {"symbol": role.symbol, "size": 14, "color": role.colour, "line": {"width": 3, "color": role.colour}}
        figure.add_scatter(x=before[column], y=rows, marker=mark, **_series(before, role, column))
    for (role, table), shift in zip(look.roles(tables), (-0.15, 0.15), strict=False):
        figure.add_scatter(
            x=table["accuracy"],
            y=[row + shift for row in rows],
            error_x=look.error_bar(table, "accuracy", "accuracy_low", "accuracy_high", role.colour),
            marker={"symbol": role.symbol, "size": 9, "color": role.colour},
            **_series(table, role, "accuracy", changes if table is tables.after else None),
        )
    height = look.row_height(len(rows)) if changes is None else max(look.row_height(len(rows)), ROW)
    look.finish(figure, dark=dark, height=104 + height * len(rows))
    names = under_names(before["task"], changes, words.points, dark=dark)
    figure.update_yaxes(tickvals=rows, ticktext=names, range=[len(rows) - 0.5, -0.5])
    figure.update_yaxes(showgrid=False, zeroline=False)
    return figure.update_xaxes(title="accuracy", tickformat=".0%", range=[0, 1.02], zeroline=False)


def accuracy_bars(tables: Sides[pd.DataFrame], *, normalised: bool = False, dark: bool = False) -> go.Figure:
    """Bars per task for zero-shot, merged before and after RI, and expert; normalised divides each by the expert's."""
    figure, before = go.Figure(), tables.before
    series: list[tuple[Role, pd.DataFrame, str]] = [(ZERO_SHOT, before, "zero_shot_accuracy")]
    series += [(role, table, "accuracy") for role, table in look.roles(tables)]
    series += [] if normalised else [(EXPERT, before, "expert_accuracy")]
    for role, table, column in series:
        shown = _relative(table, column) if normalised else table
        error = look.error_bar(shown, column, f"{column}_low", f"{column}_high", look.shades(dark).text)
        bars = _series(table, role, column) | {"marker_color": role.colour, "error_y": error}
        figure.add_bar(x=shown["task"], y=shown[column], **{key: bars[key] for key in bars if key != "mode"})
    look.finish(figure, dark=dark, height=380)
    if normalised:
        figure.add_hline(y=1, line={"color": EXPERT.colour, "width": 2}, annotation_text="expert")
    title = "accuracy / expert's accuracy" if normalised else "accuracy"
    figure.update_yaxes(title=title, tickformat=".0%", rangemode="tozero", range=None if normalised else [0, 1.02])
    return figure.update_xaxes(showgrid=False)


def _series(table: pd.DataFrame, role: Role, column: str, changes: pd.DataFrame | None = None) -> dict[str, Any]:
    """Return what every trace of a model has: its name, how it is drawn, and its hover."""
    hover = {"hovertext": _hover(table, role, column, changes), "hovertemplate": "%{hovertext}<extra></extra>"}
    return {"name": role.name, "mode": "markers", **hover}


def _relative(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return a model's accuracy and interval divided by the expert's accuracy; NaN where the expert gets none right."""
    expert = table["expert_accuracy"].where(table["expert_accuracy"] > 0)
    return table.assign(**{name: table[name] / expert for name in (column, f"{column}_low", f"{column}_high")})


def _hover(table: pd.DataFrame, role: Role, column: str, changes: pd.DataFrame | None) -> list[str]:
    """Say the value with its interval, what it is of the expert's, its change, and how many images it is based on."""
    lines, changed = [], hover_lines(changes, words.points)
    for row in table.to_dict(orient="records"):
        interval = words.percent_range(row[f"{column}_low"], row[f"{column}_high"])
        text = f"<b>{row['task']}</b>, {role.name}<br>{words.percent(row[column])} (95% interval {interval})"
        if column == "accuracy":
            share = words.percent(row["normalised_accuracy"], 0)
            text += f"<br>{share} of the expert's {words.percent(row['expert_accuracy'])}"
            text += f"; zero-shot {words.percent(row['zero_shot_accuracy'])}"
        lines.append(f"{text}{changed.get(row['task'], '')}<br>{words.count(row['n'], 'image')}")
    return lines
