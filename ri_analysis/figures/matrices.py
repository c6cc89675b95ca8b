"""Two matrices on one colour scale, and their difference beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ri_analysis.figures import look

Matrix = npt.NDArray[np.float64]
_PRINTED = (12, 8)  # values are written into the cells up to this many rows and columns
_FAINT = 0.02  # changes below this share of the values' scale look like none: rounding must not fill the colours
_TITLES = ("before RI", "after RI", "difference, after − before")


@dataclass(frozen=True)
class Axes:
    """What rows, columns and values of a matrix are called, and how a cell is put into words.

    `cell` is a format with `row` and `column`; `signed` values get a diverging scale around zero, others start at zero.
    """

    rows: str
    columns: str
    value: str
    cell: str
    signed: bool = False
    digits: int = 2


def before_and_after(
    before: pd.DataFrame,
    after: pd.DataFrame | None,
    axes: Axes,
    intervals: Sequence[tuple[pd.DataFrame, pd.DataFrame] | None] = (None, None),
    *,
    dark: bool = False,
) -> go.Figure:
    """Draw matrices (index: rows, columns: columns) before and after RI on one scale, and after − before beside them.

    NaN cells stay empty. `intervals` are the low and high ends of each matrix's cells, for the hover.
    """
    shown = [before] if after is None else [before, after]
    panels = len(shown) + (after is not None)
    figure = make_subplots(cols=panels, shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=_TITLES[:panels])
    for place, (table, ends) in enumerate(zip(shown, intervals, strict=False), 1):
        figure.add_trace(_heatmap(table, _hover(table, axes, ends), "coloraxis", axes), row=1, col=place)
    if after is not None:
        change = after - before
        figure.add_trace(_heatmap(change, _hover_change(before, after, axes), "coloraxis2", axes), row=1, col=3)
    _scales(figure, [table.to_numpy(np.float64) for table in shown], axes, dark)
    return _layout(figure, before, axes, dark)


def _heatmap(table: pd.DataFrame, hover: list[list[str]], axis: str, axes: Axes) -> go.Heatmap:
    written: dict[str, Any] = {}
    if len(table) <= _PRINTED[0] and table.shape[1] <= _PRINTED[1]:
        text = [[_number(value, axes.digits) for value in row] for row in table.to_numpy(np.float64)]
        written = {"text": text, "texttemplate": "%{text}", "textfont": {"size": 11}}
    return go.Heatmap(
        z=table.to_numpy(np.float64),
        x=[str(name) for name in table.columns],
        y=[str(name) for name in table.index],
        coloraxis=axis,
        xgap=1,
        ygap=1,
        hoverongaps=False,
        hovertext=hover,
        hovertemplate="%{hovertext}<extra></extra>",
        **written,
    )


def _number(value: float, digits: int) -> str:
    rounded = round(value, digits) + 0.0  # no minus before a zero
    return "" if np.isnan(value) else f"{rounded:.{digits}f}".replace("-", "−")


def _hover(table: pd.DataFrame, axes: Axes, ends: tuple[pd.DataFrame, pd.DataFrame] | None) -> list[list[str]]:
    values, digits = table.to_numpy(np.float64), axes.digits + 1
    lines = []
    for i, row in enumerate(table.index):
        line = []
        for j, column in enumerate(table.columns):
            text = axes.cell.format(row=row, column=column) + f"<br>{axes.value} {_number(values[i, j], digits)}"
            if ends is not None:
                low, high = (_number(float(end.to_numpy()[i, j]), digits) for end in ends)
                text += f" (95% interval {low} to {high})"
            line.append(text)
        lines.append(line)
    return lines


def _hover_change(before: pd.DataFrame, after: pd.DataFrame, axes: Axes) -> list[list[str]]:
    digits = axes.digits + 1
    return [
        [
            f"{axes.cell.format(row=row, column=column)}<br>{axes.value} {_number(float(first), digits)} before, "
            f"{_number(float(second), digits)} after RI"
            for column, first, second in zip(before.columns, ones, twos, strict=True)
        ]
        for row, ones, twos in zip(before.index, before.to_numpy(), after.to_numpy(), strict=True)
    ]


def _scales(figure: go.Figure, values: list[Matrix], axes: Axes, dark: bool) -> None:
    """One scale for both matrices, one diverging scale around zero for the difference."""
    wide, top = len(values) == 2, max(_reach(cells) for cells in values) or 1.0
    bar = {"orientation": "h", "thickness": 10, "y": 0.0, "yanchor": "bottom", "yref": "container", "outlinewidth": 0}
    place = {"x": 0.32 if wide else 0.5, "len": 0.6 if wide else 0.9}
    scale = look.diverging(dark) if axes.signed else look.SEQUENTIAL
    figure.update_layout(
        coloraxis={
            "colorscale": scale,
            "cmin": -top if axes.signed else 0,
            "cmax": top,
            "colorbar": bar | place | {"title": {"text": axes.value, "side": "bottom"}},
        }
    )
    if wide:
        spread = max(_reach(values[1] - values[0]), _FAINT * top)
        title = {"title": {"text": "change", "side": "bottom"}, "x": 0.84, "len": 0.3}
        figure.update_layout(
            coloraxis2={"colorscale": look.diverging(dark), "cmin": -spread, "cmax": spread, "colorbar": bar | title}
        )


def _reach(cells: Matrix) -> float:
    finite = np.abs(cells[np.isfinite(cells)])
    return float(finite.max()) if finite.size else 0.0


def _layout(figure: go.Figure, table: pd.DataFrame, axes: Axes, dark: bool) -> go.Figure:
    longest = max(len(str(name)) for name in table.columns)
    height = 190 + min(120, 5 * longest) + max(110, min(34, 700 // len(table)) * len(table))
    look.finish(figure, dark=dark, height=height)
    figure.update_layout(plot_bgcolor=look.shades(dark).grid, margin={"t": 40, "b": 84})
    turned = {"tickangle": -45} if longest > 3 else {}
    figure.update_xaxes(showgrid=False, title=axes.columns, title_standoff=6, type="category", **turned)
    figure.update_yaxes(showgrid=False, autorange="reversed", type="category")
    figure.update_yaxes(title=axes.rows, col=1)
    return figure.update_annotations(font_size=13)
