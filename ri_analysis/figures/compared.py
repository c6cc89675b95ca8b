"""Accuracy of several things side by side, before and after RI."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ri_analysis.figures import look, words
from ri_analysis.figures.look import AFTER, BEFORE, DISTILLED, ZERO_SHOT, Role

ROLES: dict[str, Role] = {
    "zero-shot": ZERO_SHOT,
    "before": BEFORE,
    "after": AFTER,
    "distilled": DISTILLED,
}
_SYMBOLS = {"zero-shot": "line-ns-open"}
_SHIFT = {"zero-shot": 0.0, "before": -0.12, "after": 0.12, "distilled": 0.0}


def compared(table: pd.DataFrame, by: str, *, x_title: str = "accuracy", dark: bool = False) -> go.Figure:
    """One row for each value of column `by`, in the table's order; one point for each `stage`, with its interval.

    `table` has the columns `stage` (a name of ROLES), `accuracy`, `accuracy_low`, `accuracy_high`, `n`.
    """
    figure, names = go.Figure(), list(dict.fromkeys(table[by]))
    for stage, role in ROLES.items():
        part = table[table["stage"] == stage]
        if part.empty:
            continue
        figure.add_scatter(
            x=part["accuracy"],
            y=[names.index(name) + _SHIFT[stage] for name in part[by]],
            error_x=look.error_bar(part, "accuracy", "accuracy_low", "accuracy_high", role.colour),
            marker={"symbol": _SYMBOLS.get(stage, role.symbol), "size": 10, "color": role.colour},
            mode="markers",
            name=role.name,
            hovertext=[_hover(row, str(row[by]), role) for row in part.to_dict(orient="records")],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    look.finish(figure, dark=dark, height=110 + look.row_height(len(names)) * len(names))
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.5, -0.5])
    figure.update_yaxes(showgrid=False, zeroline=False)
    return figure.update_xaxes(title=x_title, tickformat=".0%", zeroline=False)


def along(
    table: pd.DataFrame,
    x: str,
    *,
    x_title: str,
    y: str = "accuracy",
    y_title: str = "mean accuracy over tasks",
    line: str = "method",
    colours: Mapping[str, str] | None = None,
    dark: bool = False,
) -> go.Figure:
    """Lines of column `y` with intervals (`y`_low, `y`_high) over the numeric `x`, one for each value of `line`."""
    names = list(dict.fromkeys(table[line]))
    shades = dict(colours or look.task_colours([str(name) for name in names]))
    figure = go.Figure()
    for name in names:
        part, colour = table[table[line] == name].sort_values(x), shades[str(name)]
        figure.add_scatter(
            x=part[x],
            y=part[y],
            error_y=look.error_bar(part, y, f"{y}_low", f"{y}_high", colour),
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"size": 8},
            name=str(name),
        )
    look.finish(figure, dark=dark, height=400)
    figure.update_layout(margin_t=60, legend={"y": 1.04})
    share = not y.startswith("interference")
    figure.update_xaxes(title=x_title)
    return figure.update_yaxes(title=y_title, tickformat=".0%" if share else "")


def _hover(row: Mapping[Hashable, Any], name: str, role: Role) -> str:
    interval = words.percent_range(row["accuracy_low"], row["accuracy_high"])
    return (
        f"<b>{name}</b><br>{role.name}: {words.percent(row['accuracy'])} (95% interval {interval})<br>"
        f"{words.count(int(row['n']), 'image')}"
    )
