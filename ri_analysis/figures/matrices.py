"""Two matrices on one colour scale, and their difference beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ri_analysis.figures import look, words
from ri_analysis.intervals import clear, of_difference
from ri_analysis.sides import Sides

Matrix = npt.NDArray[np.float64]
Ends = tuple[pd.DataFrame, pd.DataFrame]
Pivot = Callable[[pd.DataFrame, str], pd.DataFrame]
_DIGITS = 2  # in the cells; hovers have one more
_PRINTED = (12, 8)  # values are written into the cells up to this many rows and columns
_SHORT, _ROOM = 3, 30  # letters of a name that needs no turning, and of all names that stand side by side
_FAINT = 0.02  # changes below this share of the values' scale look like none: rounding must not fill the colours
ONLY_CLEAR = (
    "The third matrix colours only clear changes: those whose interval excludes 0, treating the samples as independent."
)
_TITLES = ("before RI", "after RI", "difference, after − before")


@dataclass(frozen=True)
class Axes:
    """What rows, columns and values of a matrix are called, in what unit, and how a cell is put into words.

    `cell` is a format with `row` and `column`; so is `own`, where the diagonal is another matter than the rest: its
    cells are then left empty and have no part in the scale, but keep their hover. `signed` values get a scale around
    zero, others start at zero.
    """

    rows: str
    columns: str
    quantity: str
    cell: str
    unit: str = ""
    own: str | None = None
    signed: bool = False

    def head(self, row: str, column: str) -> str:
        """Put a cell into words."""
        text = self.cell if self.own is None or row != column else self.own
        return text.format(row=row, column=column)

    def title(self, quantity: str) -> str:
        """Return the title of a colour bar."""
        return f"{quantity} ({self.unit})" if self.unit else quantity


def square(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return a column of a table with one row per `expert` and `task` as a matrix, tasks in the table's order."""
    tasks = list(dict.fromkeys(table["task"]))
    return table.pivot(index="expert", columns="task", values=column).reindex(index=tasks, columns=tasks)


def before_and_after(
    tables: Sides[pd.DataFrame], axes: Axes, intervals: Sides[Ends] | None = None, *, dark: bool = False
) -> go.Figure:
    """Draw matrices (index: rows, columns: columns) before and after RI on one scale, and after − before beside them.

    NaN cells stay empty. `intervals` are the low and high ends of each matrix's cells, for the hover.
    """
    panels = 2 * len(tables) - 1
    figure = make_subplots(cols=panels, shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=_TITLES[:panels])
    shown = [_cells(table, axes) for table in tables]
    ends = [None] * len(tables) if intervals is None else intervals
    for place, (table, cells, end) in enumerate(zip(tables, shown, ends, strict=True), 1):
        _add_cells(figure, tables.before, cells, _hover(table, axes, end), place, "coloraxis")
    if tables.after is not None:
        unclear = _unclear(tables, intervals)
        hover = _hover_change(tables.before, tables.after, axes, unclear)
        _add_cells(figure, tables.before, shown[1] - shown[0], hover, 3, "coloraxis2", uncoloured=unclear)
    _scales(figure, shown, axes, dark)
    return look.number_cells(_layout(figure, tables.before, axes, dark))


def with_ends(tables: Sides[pd.DataFrame], column: str, axes: Axes, cells: Pivot, *, dark: bool = False) -> go.Figure:
    """Draw a column of tables before and after RI, with its intervals; `cells` makes a matrix of a table's column."""
    ends = tables.map(lambda table: (cells(table, f"{column}_low"), cells(table, f"{column}_high")))
    return before_and_after(tables.map(lambda table: cells(table, column)), axes, ends, dark=dark)


def with_points(figure: go.Figure) -> go.Figure:
    """Return a copy whose cells are points as well, for clicks: their custom data are row and column."""
    found = go.Figure(figure)
    for cells in [trace for trace in figure.data if trace.type == "heatmap"]:
        places = [(row, column) for row in range(len(cells.y)) for column in range(len(cells.x))]
        found.add_scatter(
            x=[cells.x[column] for _, column in places],
            y=[cells.y[row] for row, _ in places],
            xaxis=cells.xaxis,
            yaxis=cells.yaxis,
            mode="markers",
            marker={"opacity": 0, "size": 16, "color": look.LIGHT.muted},
            hovertext=[cells.hovertext[row][column] for row, column in places],
            hovertemplate="%{hovertext}<extra></extra>",
            customdata=[(cells.y[row], cells.x[column]) for row, column in places],
            showlegend=False,
        )
    return found


def _cells(table: pd.DataFrame, axes: Axes) -> Matrix:
    """Return the values that are drawn."""
    cells = table.to_numpy(dtype=np.float64, copy=True)
    if axes.own is not None:
        np.fill_diagonal(cells, np.nan)
    return cells


def _add_cells(
    figure: go.Figure,
    table: pd.DataFrame,
    cells: Matrix,
    hover: list[list[str]],
    panel: int,
    axis: str,
    *,
    uncoloured: npt.NDArray[np.bool_] | None = None,
) -> None:
    """Add a panel; an `uncoloured` cell still says its number."""
    coloured = cells if uncoloured is None else np.where(uncoloured, 0 * cells, cells)
    columns, rows = [str(name) for name in table.columns], [str(name) for name in table.index]
    figure.add_heatmap(
        z=coloured,
        x=columns,
        y=rows,
        coloraxis=axis,
        xgap=1,
        ygap=1,
        hoverongaps=True,
        hovertext=hover,
        hovertemplate="%{hovertext}<extra></extra>",
        row=1,
        col=panel,
    )
    places = [(row, column) for row, column in np.ndindex(cells.shape) if np.isfinite(cells[row, column])]
    if len(rows) > _PRINTED[0] or len(columns) > _PRINTED[1] or not places:
        return
    # Points without markers: the text of a heatmap itself can have one colour only.
    figure.add_scatter(
        x=[columns[column] for _, column in places],
        y=[rows[row] for row, _ in places],
        mode="markers+text",
        text=[_number(float(cells[place]), _DIGITS) for place in places],
        textfont={"size": 11},
        marker={"opacity": 0, "color": [float(coloured[place]) for place in places], "coloraxis": axis},
        hoverinfo="skip",
        showlegend=False,
        row=1,
        col=panel,
    )


def _number(value: float, digits: int) -> str:
    rounded = round(value, digits) + 0.0  # no minus before a zero
    return "" if np.isnan(value) else f"{rounded:.{digits}f}".replace("-", "−")


def _hover(table: pd.DataFrame, axes: Axes, ends: tuple[pd.DataFrame, pd.DataFrame] | None) -> list[list[str]]:
    values = table.to_numpy(np.float64)
    low, high = (values, values) if ends is None else (end.to_numpy(np.float64) for end in ends)

    def say(i: int, j: int) -> str:
        text = f"{axes.quantity} {_number(values[i, j], _DIGITS + 1)} {axes.unit}".rstrip()
        if ends is not None:
            text += f" (95% interval {_number(low[i, j], _DIGITS + 1)} to {_number(high[i, j], _DIGITS + 1)})"
        return text

    return _texts(table, axes, say)


def _unclear(tables: Sides[pd.DataFrame], intervals: Sides[Ends] | None) -> npt.NDArray[np.bool_]:
    """Return which cells' changes have an interval that includes 0; none where there are no intervals."""
    if intervals is None:
        return np.zeros(tables.before.shape, dtype=bool)
    sides = [[each.to_numpy(np.float64) for each in (table, *ends)] for table, ends in tables.zip(intervals)]
    low, high = of_difference(*sides)
    return np.asarray(~clear(low, high) & ~np.isnan(low), dtype=bool)


def _hover_change(
    before: pd.DataFrame, after: pd.DataFrame, axes: Axes, unclear: npt.NDArray[np.bool_]
) -> list[list[str]]:
    first, second = before.to_numpy(np.float64), after.to_numpy(np.float64)

    def say(i: int, j: int) -> str:
        one, two, change = (
            _number(value, _DIGITS + 1) for value in (first[i, j], second[i, j], second[i, j] - first[i, j])
        )
        said = f"{axes.quantity} {one} before, {two} after RI<br>change {change} {axes.unit}".rstrip()
        return f"{said}, {words.NO_CLEAR_CHANGE}" if unclear[i, j] else said

    return _texts(before, axes, say)


def _texts(table: pd.DataFrame, axes: Axes, say: Callable[[int, int], str]) -> list[list[str]]:
    """Return every cell in words; what has no value has its name only."""
    known = table.notna().to_numpy()
    return [
        [
            axes.head(str(row), str(column)) + (f"<br>{say(i, j)}" if known[i, j] else "")
            for j, column in enumerate(table.columns)
        ]
        for i, row in enumerate(table.index)
    ]


def _scales(figure: go.Figure, values: list[Matrix], axes: Axes, dark: bool) -> None:
    """One scale for both matrices, one around zero for the difference."""
    wide, top = len(values) == 2, max(_reach(cells) for cells in values) or 1.0
    bar = {"orientation": "h", "thickness": 10, "y": 0.0, "yanchor": "bottom", "yref": "container", "outlinewidth": 0}
    place = {"x": 0.32 if wide else 0.5, "len": 0.6 if wide else 0.9}
    scale = {"colorscale": look.SEQUENTIAL, "cmin": 0, "cmax": top}
    if axes.signed:
        scale = look.signed(np.concatenate([cells.ravel() for cells in values]), dark)
    title = _bar_title(axes.title(axes.quantity))
    figure.update_layout(coloraxis=scale | {"colorbar": bar | place | {"title": title}})
    if wide:
        change = look.signed(values[1] - values[0], dark, _FAINT * top)
        title = _bar_title(axes.title("change"))
        figure.update_layout(coloraxis2=change | {"colorbar": bar | {"title": title, "x": 0.84, "len": 0.3}})


def _bar_title(text: str) -> dict[str, Any]:
    return {"text": text, "side": "bottom", "font": {"size": 13}}


def _reach(cells: Matrix) -> float:
    finite = np.abs(cells[np.isfinite(cells)])
    return float(finite.max()) if finite.size else 0.0


def _layout(figure: go.Figure, table: pd.DataFrame, axes: Axes, dark: bool) -> go.Figure:
    longest, many = max(len(str(name)) for name in table.columns), len(table.columns) > _PRINTED[0]
    height = 190 + min(120, (7 if many else 5) * longest) + max(110, min(34, max(18, 380 // len(table))) * len(table))
    look.finish(figure, dark=dark, height=height)
    figure.update_layout(plot_bgcolor=look.shades(dark).grid, margin={"t": 40, "b": 84})
    if longest > _SHORT and longest * len(table.columns) > _ROOM:  # every name below its column, upright in narrow ones
        figure.update_xaxes(dtick=1, tickangle=-90 if many else -45, tickfont={"size": 10} if many else {})
    figure.update_xaxes(showgrid=False, ticks="", title=axes.columns, title_standoff=6, type="category")
    figure.update_yaxes(showgrid=False, ticks="", autorange="reversed", type="category")
    figure.update_yaxes(title=axes.rows, col=1)
    return figure.update_annotations(font_size=13)
