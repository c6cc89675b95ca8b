"""Pinned recipes beside the current one, and by how much they differ on the same images."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ri_analysis.figures import look, words
from ri_analysis.figures.look import AFTER, BEFORE, Role
from ri_analysis.intervals import clear

_STAGES = {"before": BEFORE, "after": AFTER}


def pinned(table: pd.DataFrame, *, dark: bool = False) -> go.Figure:
    """Bars of mean accuracy, one group a recipe; beside them each recipe's paired difference from the current one.

    `table` has the columns `recipe`, `stage` (before, after), `accuracy`, `accuracy_change`, each with `_low` and
    `_high`, and `n`; the changes of the current recipe itself are NaN.
    """
    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.05)
    names = list(dict.fromkeys(table["recipe"]))
    for stage, role in _STAGES.items():
        part = table[table["stage"] == stage]
        if not part.empty:
            _add_bars(figure, part, role, dark)
            _add_changes(figure, part, role, dark)
    figure.add_vline(x=0, line={"color": look.shades(dark).muted, "width": 1}, row=1, col=2)
    look.finish(figure, dark=dark, height=120 + 2 * look.row_height(len(names)) * len(names))
    figure.update_yaxes(type="category", categoryarray=names, categoryorder="array", autorange="reversed")
    figure.update_xaxes(title="mean accuracy", tickformat=".0%", rangemode="tozero", col=1)
    return figure.update_xaxes(title="difference from the current recipe (points)", rangemode="tozero", col=2)


def _add_bars(figure: go.Figure, part: pd.DataFrame, role: Role, dark: bool) -> None:
    figure.add_bar(
        x=part["accuracy"],
        y=part["recipe"],
        orientation="h",
        name=role.name,
        marker_color=role.colour,
        error_x=look.error_bar(part, "accuracy", "accuracy_low", "accuracy_high", look.shades(dark).text),
        hovertext=[_hover(row, role) for row in part.to_dict(orient="records")],
        hovertemplate="%{hovertext}<extra></extra>",
        offsetgroup=role.name,
        row=1,
        col=1,
    )


def _add_changes(figure: go.Figure, part: pd.DataFrame, role: Role, dark: bool) -> None:
    points = part.assign(
        **{f"points{end}": 100 * part[f"accuracy_change{end}"] for end in ("", "_low", "_high")},
    )
    clear_changes = clear(points["points_low"], points["points_high"])
    figure.add_bar(
        x=points["points"],
        y=points["recipe"],
        orientation="h",
        name=role.name,
        showlegend=False,
        marker_color=[role.colour if is_clear else look.shades(dark).band for is_clear in clear_changes],
        error_x=look.error_bar(points, "points", "points_low", "points_high", look.shades(dark).text),
        hovertext=[_hover_change(row, role) for row in part.to_dict(orient="records")],
        hovertemplate="%{hovertext}<extra></extra>",
        offsetgroup=role.name,
        row=1,
        col=2,
    )


def _hover(row: dict[object, float], role: Role) -> str:
    interval = words.percent_range(row["accuracy_low"], row["accuracy_high"])
    return (
        f"<b>{row['recipe']}</b>, {role.name}<br>{words.percent(row['accuracy'])} (95% interval {interval})<br>"
        f"{words.count(int(row['n']), 'image')}"
    )


def _hover_change(row: dict[object, float], role: Role) -> str:
    interval = words.points_range(row["accuracy_change_low"], row["accuracy_change_high"])
    change = words.points(row["accuracy_change"])
    if not clear(row["accuracy_change_low"], row["accuracy_change_high"]):
        change = f"no clear difference: {change}"
    return f"<b>{row['recipe']} − current</b>, {role.name}<br>{change} (95% interval {interval})<br>paired by image"
