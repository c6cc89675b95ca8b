"""Accuracy of several things side by side, before and after RI."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from ri_analysis.figures import look, spread, words
from ri_analysis.figures.look import AFTER, BEFORE, BOTH, DISTILLED, QUICK_TOGETHER, TOGETHER, ZERO_SHOT, Role
from ri_analysis.figures.spread import Row

ROLES: dict[str, Role] = {
    "zero-shot": ZERO_SHOT,
    "before": BEFORE,
    "after": AFTER,
    "distilled": DISTILLED,
    "both": BOTH,
    "together": TOGETHER,
    "quick-together": QUICK_TOGETHER,
}
_MARK = {"symbol": "line-ns-open", "size": 18, "line": {"width": 2.5}}  # a stroke, which a point's size would hide
_TICKS = {"accuracy": {"tickformat": ".0%"}, "gain": look.SIGNED}  # how a measured column's labels are written
_SHIFT = {
    "zero-shot": 0.0,
    "before": -0.12,
    "after": 0.12,
    "distilled": 0.0,
    "both": 0.24,
    "together": 0.36,
    "quick-together": -0.24,
}


def compared(table: pd.DataFrame, by: str, *, x_title: str = "accuracy", dark: bool = False) -> go.Figure:
    """One row for each value of column `by`, in the table's order; one point for each `stage`, with its interval.

    `table` has the columns `stage` (a name of ROLES), `accuracy`, `accuracy_low`, `accuracy_high`, `n`, and those of
    the seeds where there are several (see `spread`).
    """
    figure, names = go.Figure(), list(dict.fromkeys(table[by]))
    for stage, role in ROLES.items():
        part = table[table["stage"] == stage]
        if part.empty:
            continue
        places = [names.index(name) + _SHIFT[stage] for name in part[by]]
        spread.add_seeds(figure, part, "accuracy", role.colour, places, vertical=False, legendgroup=stage)
        figure.add_scatter(
            x=part["accuracy"],
            y=places,
            error_x=look.error_bar(part, "accuracy", "accuracy_low", "accuracy_high", role.colour),
            marker={"symbol": role.symbol, "size": 10, "color": role.colour} | (_MARK if stage == "zero-shot" else {}),
            mode="markers",
            name=role.name,
            legendgroup=stage,
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
    line: str = "title",
    runs: str = "seeds",
    log: bool = False,
    dark: bool = False,
) -> go.Figure:
    """Lines of a measured column `y` (see `spread`) over the numeric `x`, one for each value of `line`.

    `runs` is what the lowest and the highest were chosen from, in words; `log` asks for a logarithmic x.
    """
    names = list(dict.fromkeys(table[line]))
    shades = look.task_colours([str(name) for name in names], dark=dark)
    figure = go.Figure()
    for name in names:
        part, colour = table[table[line] == name].sort_values(x), shades[str(name)]
        shown = spread.on_axis(part, y)
        spread.add_seeds(figure, shown, y, colour, part[x], vertical=True, legendgroup=str(name))
        figure.add_scatter(
            x=shown[x],
            y=shown[y],
            error_y=look.error_bar(shown, y, f"{y}_low", f"{y}_high", colour),
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"size": 8},
            name=str(name),
            legendgroup=str(name),
            hovertext=[
                f"<b>{name}</b>, {x_title}: {row[x]:,}<br>{spread.hover(row, y, runs)}"
                for row in part.to_dict(orient="records")
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    look.finish(figure, dark=dark, height=400)
    figure.update_layout(margin_t=60, legend={"y": 1.04})
    figure.update_xaxes(title=x_title)
    if log:
        ticks = sorted(set(table[x]))
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{tick:,}" for tick in ticks])
    return figure.update_yaxes(title=y_title, **_TICKS.get(y, {}))


def _hover(row: Row, name: str, role: Role) -> str:
    images = words.count(int(row["n"]), "image")
    return f"<b>{name}</b><br>{role.name}: {spread.hover(row, 'accuracy')}<br>{images}"
