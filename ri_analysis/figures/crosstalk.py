"""Who disturbs whom."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ri_analysis.figures import look, words

_PRINTED = 10  # values are written into the cells up to this many tasks
Matrix = npt.NDArray[np.float64]


def crosstalk_matrices(before: pd.DataFrame, after: pd.DataFrame | None, *, dark: bool = False) -> go.Figure:
    """Crosstalk matrices, expert (row) on task (column): before and after RI on one scale, and their difference.

    The arguments are crosstalk tables. The diagonal is what an expert learned, not interference: it is left empty,
    its value is in the hover, and it has no part in the colour scale.
    """
    tables = [before] if after is None else [before, after]
    titles = ["before RI"] if after is None else ["before RI", "after RI", "difference, after − before"]
    tasks = list(dict.fromkeys(before["task"]))
    values = [matrix(table, tasks) for table in tables]
    figure = make_subplots(cols=len(titles), shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=titles)
    for column, (table, cells) in enumerate(zip(tables, values, strict=True), 1):
        figure.add_trace(_heatmap(cells, tasks, _hover(table, tasks), "coloraxis"), row=1, col=column)
    if after is not None:
        change = values[1] - values[0]
        figure.add_trace(_heatmap(change, tasks, _hover_change(values, tasks), "coloraxis2"), row=1, col=3)
    _scales(figure, values, dark)
    return _layout(figure, len(tasks), len(titles), dark)


def matrix(table: pd.DataFrame, tasks: list[str]) -> Matrix:
    """Return the crosstalk of expert (row) on task (column), (T, T) nats, with an empty (NaN) diagonal."""
    cells = table.pivot(index="expert", columns="task", values="crosstalk").reindex(index=tasks, columns=tasks)
    found = cells.to_numpy(dtype=np.float64, copy=True)
    np.fill_diagonal(found, np.nan)
    return found


def _heatmap(cells: Matrix, tasks: list[str], hover: list[list[str]], axis: str) -> go.Heatmap:
    written: dict[str, Any] = {}
    if len(tasks) <= _PRINTED:
        text = [["" if np.isnan(value) else f"{value:.2f}".replace("-", "−") for value in row] for row in cells]
        written = {"text": text, "texttemplate": "%{text}", "textfont": {"size": 11}}
    return go.Heatmap(
        z=cells,
        x=tasks,
        y=tasks,
        coloraxis=axis,
        xgap=1,
        ygap=1,
        hoverongaps=True,
        hovertext=hover,
        hovertemplate="%{hovertext}<extra></extra>",
        **written,
    )


def _hover(table: pd.DataFrame, tasks: list[str]) -> list[list[str]]:
    rows = {(row["expert"], row["task"]): row for row in table.to_dict(orient="records")}
    return [[_cell(rows[expert, task]) for task in tasks] for expert in tasks]


def _cell(row: dict[Any, Any]) -> str:
    value, interval = words.nats(row["crosstalk"]), words.nats_range(row["crosstalk_low"], row["crosstalk_high"])
    if row["expert"] == row["task"]:
        head = f"<b>{row['expert']}</b> on its own task: what it learned, not interference"
    else:
        head = f"expert <b>{row['expert']}</b> moves task <b>{row['task']}</b>"
    return f"{head}<br>{value} (95% interval {interval})<br>{words.count(row['n'], 'image')}"


def _hover_change(values: list[Matrix], tasks: list[str]) -> list[list[str]]:
    before, after = values
    return [
        [
            f"expert <b>{expert}</b> moves task <b>{task}</b><br>"
            + f"{words.nats(before[row, column])} before, {words.nats(after[row, column])} after RI"
            if row != column
            else f"<b>{expert}</b> on its own task"
            for column, task in enumerate(tasks)
        ]
        for row, expert in enumerate(tasks)
    ]


def _scales(figure: go.Figure, values: list[Matrix], dark: bool) -> None:
    """One sequential scale from zero for both matrices, one diverging scale around zero for the difference."""
    wide = len(values) == 2
    top = _largest(values)
    bar = _colour_bar("crosstalk (nats)", x=0.32 if wide else 0.5, length=0.6 if wide else 0.9)
    figure.update_layout(coloraxis={"colorscale": look.SEQUENTIAL, "cmin": 0, "cmax": top, "colorbar": bar})
    if wide:
        spread = _largest([np.abs(values[1] - values[0])])
        bar = _colour_bar("change (nats)", x=0.845, length=0.3)
        scale = {"colorscale": look.diverging(dark), "cmin": -spread, "cmax": spread, "colorbar": bar}
        figure.update_layout(coloraxis2=scale)


def _largest(values: list[Matrix]) -> float:
    """Return the largest number in the matrices; 1 where there is none above 0."""
    return max((float(np.nanmax(cells)) for cells in values if not np.isnan(cells).all()), default=0.0) or 1.0


def _colour_bar(title: str, *, x: float, length: float) -> dict[str, Any]:
    """Return a flat colour bar below the matrices."""
    place = {"orientation": "h", "x": x, "len": length, "y": 0.0, "yref": "container", "yanchor": "bottom"}
    return {
        **place,
        "thickness": 10,
        "outlinewidth": 0,
        "title": {"text": title, "side": "bottom", "font": {"size": 13}},
    }


def _layout(figure: go.Figure, tasks: int, panels: int, dark: bool) -> go.Figure:
    height = 210 + max(150, min(34, 700 // tasks) * tasks)
    look.finish(figure, dark=dark, height=height)
    figure.update_layout(plot_bgcolor=look.shades(dark).grid, margin={"t": 40, "b": 84})
    figure.update_xaxes(showgrid=False, tickangle=-45, ticks="", title="task disturbed", title_standoff=6)
    figure.update_yaxes(showgrid=False, autorange="reversed")
    figure.update_yaxes(title="expert that disturbs", col=1)
    return figure.update_annotations(font_size=13)
