"""Accuracy over one or two hyperparameters, before and after RI."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ri_analysis.figures import look, words
from ri_analysis.figures.look import AFTER, BEFORE
from ri_analysis.merging import METHODS

ROLES = {"before": BEFORE, "after": AFTER}
_CHANGE = "difference, after − before"
_CONTOURS, _NUMBERED = 16, 5  # at most, from the lowest to the highest: all, and those with a number
_LABELS = 5  # at most, along a colour bar
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # of accuracy: round ones, from one contour or label to the next
_LOG_DIGITS, _LOG_TICKS = ((1, 2, 5), (1, 3), (1,)), 7  # what labels of logarithmic axes begin with; as many at most
_AROUND = 0.03  # of an axis, beyond the outer points
_PLATEAU = 0.01  # of accuracy below the best: what lies above that is shaded

METHOD_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "hexagon", "triangle-down")

Row = Mapping[Hashable, Any]


def axis_title(table: pd.DataFrame, axis: str) -> str:
    """Return the title of the axis "x" or "y" of a table of one method, in words."""
    return METHODS[str(table["method"].iloc[0])].label(str(table[f"{axis}_name"].iloc[0]))


def curves(
    table: pd.DataFrame,
    *,
    here: float | None = None,
    subject: str = "merged",
    default: str = "default",
    dark: bool = False,
) -> go.Figure:
    """Accuracy along one axis before and after RI, with bands, plateaus, the best point and the default.

    `table` has the columns of the sensitivity study's table, of one method; other seeds of RI are thin lines. `here` is
    where the reader's recipe stands. `subject` and `default` are what the curves and the default are called.
    """
    figure, shade = go.Figure(), look.shades(dark)
    for stage, role in ROLES.items():
        lines = table[(table["stage"] == stage) & (table["kind"] == "grid")].sort_values("x")
        part, name = lines[lines["run"] == 0], f"{subject} {stage} RI"
        if part.empty:
            continue
        for _, other in lines[lines["run"] > 0].groupby("run"):
            thin = {"color": role.colour, "width": 1}
            figure.add_scatter(
                x=other["x"],
                y=other["accuracy"],
                mode="lines",
                line=thin,
                opacity=0.6,
                hoverinfo="skip",
                showlegend=False,
            )
        figure.add_traces(_curve(part.assign(at=part["x"]), role, name))
    for row in table[(table["kind"] == "best") & (table["run"] == 0)].to_dict(orient="records"):
        _mark_plateau(figure, row, ROLES[row["stage"]])
    values = np.unique(table["x"].to_numpy(float))
    log = _logarithmic(values)
    for row in table[table["kind"] == "default"].head(1).to_dict(orient="records"):
        add_vertical(figure, row["x"], default, shade.muted, "dash", log)
    if here is not None:
        add_vertical(figure, here, "your recipe", shade.text, "dot", log, line=1)
    look.finish(figure, dark=dark, height=420)
    figure.update_xaxes(title=axis_title(table, "x"), showgrid=False, **axis_scale(values))
    figure.update_layout(margin_t=60, legend={"y": 1.06})
    return figure.update_yaxes(title="mean accuracy over tasks", tickformat=".0%")


def _curve(rows: pd.DataFrame, role: look.Role, name: str) -> list[go.Scatter]:
    """Return the band and the line of measured rows along their column `at`."""
    band = go.Scatter(
        x=pd.concat([rows["at"], rows["at"][::-1]]),
        y=pd.concat([rows["accuracy_high"], rows["accuracy_low"][::-1]]),
        fill="toself",
        fillcolor=look.faint(role.colour),
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
    )
    line = go.Scatter(
        x=rows["at"],
        y=rows["accuracy"],
        mode="lines+markers",
        name=name,
        line={"color": role.colour, "width": 2},
        marker={"symbol": role.symbol, "size": 7, "color": role.colour},
        hovertext=[hover(row, name) for row in rows.to_dict(orient="records")],
        hovertemplate="%{hovertext}<extra></extra>",
    )
    return [band, line]


def _star(at: float, row: Row, role: look.Role) -> go.Scatter:
    """Return the mark of the best, which says where it is and on how many images."""
    return go.Scatter(
        x=[at],
        y=[row["accuracy"]],
        mode="markers",
        marker={"symbol": "star", "size": 14, "color": role.colour, "line": {"width": 1, "color": "#FFFFFF"}},
        showlegend=False,
        hovertext=[hover(row, f"best {row['stage']} RI")],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _mark_plateau(figure: go.Figure, row: Row, role: look.Role) -> None:
    """Draw a plateau as a bar one point below the best, and the best as a star."""
    if not np.isfinite(row["plateau"]):
        return
    level = row["accuracy"] - 0.01
    more = "at least " if row["plateau_open"] else ""
    figure.add_scatter(
        x=[row["plateau_from"], row["plateau_to"]],
        y=[level, level],
        mode="lines",
        line={"color": role.colour, "width": 7},
        opacity=0.45,
        name=f"plateau {role.name.removeprefix('merged ')}",
        hovertemplate=f"plateau {role.name.removeprefix('merged ')}: {more}{row['plateau']:.2f} "
        f"({row['plateau_low']:.2f}–{row['plateau_high']:.2f})<extra></extra>",
    )
    figure.add_trace(_star(row["x"], row, role))


def add_vertical(figure: go.Figure, value: float, text: str, colour: str, dash: str, log: bool, line: int = 0) -> None:
    """Draw a line across the figure with its name at the top, in a line of text of its own."""
    if log and value <= 0:
        return  # off the axis
    figure.add_vline(value, line={"color": colour, "dash": dash, "width": 1.5})
    place = float(np.log10(value)) if log else value  # on a logarithmic axis lines take values, texts exponents
    style = {
        "font_color": colour,
        "showarrow": False,
        "xanchor": "left",
        "yanchor": "bottom",
        "xshift": 3,
        "yshift": 14 * line,
    }
    figure.add_annotation(x=place, y=0.94, yref="paper", text=text, **style)


def pair(table: pd.DataFrame, *, here: tuple[float, float] | None = None, dark: bool = False) -> go.Figure:
    """Accuracy over two axes before and after RI on one colour scale, with contours, and their difference beside them.

    Dots are the measured places, the rest is estimated (rows of the `kind` "estimate") or interpolated; a star is the
    best, a ring the default, a cross the reader's recipe at `here`. Shaded is what lies within a point of a side's
    best, once that is known. `customdata` of a dot is its (x, y). Changes are in points.
    """
    grid = table[table["kind"] == "grid"]
    xs, ys = (np.unique(grid[axis].to_numpy(float)) for axis in ("x", "y"))
    whole = table[table["kind"].isin(["grid", "estimate"])]
    cells = {stage: _matrix(whole[whole["stage"] == stage], xs, ys) for stage in ROLES if stage in set(grid["stage"])}
    panels = [*cells.values()] + ([100 * (cells["after"] - cells["before"])] if len(cells) == 2 else [])
    marked = table[table["kind"].isin(["best", "default"]) & (table["run"] == 0)].to_dict(orient="records")
    bests = {row["stage"]: row for row in marked if row["kind"] == "best"}
    titles = [_headed(stage, bests.get(stage)) for stage in cells] + [_CHANGE] * (len(panels) == 3)
    figure = make_subplots(cols=len(panels), shared_yaxes=True, horizontal_spacing=0.025, subplot_titles=titles)
    scales = _scales(panels, dark)
    for column, values in enumerate(panels, 1):
        change = column == 3
        axis, unit = ("coloraxis2", 100.0) if change else ("coloraxis", 1.0)
        field = {"x": xs, "y": ys, "z": values, "connectgaps": True, "hoverinfo": "skip", "showlegend": False}
        stage = list(cells)[0 if change else column - 1]
        plateau = [] if change or stage not in bests else _plateau(field, bests[stage]["accuracy"] - _PLATEAU)
        for trace in (
            go.Contour(
                **field,
                coloraxis=axis,
                line={"width": 0.6, "color": look.shades(dark).background},
                contours=_levels(panels[2:] if change else [*cells.values()], unit),
            ),
            *plateau,
            _dots(grid[grid["stage"] == stage], values, xs, ys, change),
            *_numbered(field, axis, unit),
        ):
            figure.add_trace(trace, row=1, col=column)
    for column, stage in enumerate(cells, 1):
        for row in marked:
            if row["stage"] == stage:
                figure.add_trace(_mark(row["kind"], (row["x"], row["y"]), hover(row, row["kind"])), row=1, col=column)
    if here is not None:
        for column in range(1, len(panels) + 1):
            figure.add_trace(_mark("your recipe", here), row=1, col=column)
    return _dressed(figure, table, scales[: 1 + (len(panels) == 3)], (xs, ys), dark)


def _headed(stage: str, best: Row | None) -> str:
    """Return the title of a stage's panel, with its best once that is known."""
    if best is None:
        return f"{stage} RI"
    interval = words.percent_range(best["accuracy_low"], best["accuracy_high"])
    return f"{stage} RI: best {words.percent(best['accuracy'])} ({interval})"


def _plateau(field: Mapping[str, Any], level: float) -> list[go.Contour]:
    """Return what shades the part of a field that reaches a level, with a rim that shows on light and on dark."""
    limit = {"type": "constraint", "operation": "<", "value": level}  # what does not meet it is filled
    rims = [("rgba(255,255,255,0.9)", 4.0, "rgba(0,0,0,0.25)"), ("#000000", 1.6, "rgba(0,0,0,0)")]
    return [
        go.Contour(**field, contours=limit, fillcolor=fill, line={"color": colour, "width": width})
        for colour, width, fill in rims
    ]


def _numbered(field: Mapping[str, Any], axis: str, unit: float) -> list[go.Contour]:
    """Return the contours that have a number, a trace each: their inks differ."""
    levels = _levels([field["z"]], unit, _NUMBERED)
    form = {"coloring": "none", "showlabels": True, "labelfont": {"size": 11}, "size": levels["size"]}
    traces = []
    for value in np.arange(levels["start"], levels["end"] + levels["size"] / 2, levels["size"]).round(6).tolist():
        form |= {"start": value, "end": value, "labelformat": "~p" if unit == 1.0 else "+~f" if value else "~f"}
        traces.append(go.Contour(**field, coloraxis=axis, contours=form, line={"width": 0.8}))
    return traces


def _scales(panels: Sequence[npt.NDArray[np.float64]], dark: bool) -> list[dict[str, Any]]:
    """Return the colour scales of accuracies and of their change: `colorscale`, `cmin`, `cmax`."""
    known = _known(panels[:2])
    accuracy = {"colorscale": look.SEQUENTIAL, "cmin": known.min(), "cmax": max(known.max(), known.min() + 0.01)}
    return [accuracy, look.signed(_known(panels[2:]), dark, 1.0)]


def marginals(table: pd.DataFrame, *, dark: bool = False) -> go.Figure:
    """The best accuracy along each of two axes, whatever the other is, before and after RI, with its interval.

    Every point is a measured place of `pair`; stars are the bests.
    """
    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.04)
    grid = table[(table["kind"] == "grid") & (table["run"] == 0)]
    bests = table[(table["kind"] == "best") & (table["run"] == 0)]
    for column, axis in enumerate(("x", "y"), 1):
        for stage, role in ROLES.items():
            part = grid[grid["stage"] == stage]
            if part.empty:
                continue
            rows = part.loc[part.groupby(axis)["accuracy"].idxmax()]
            name = f"best {stage} RI"
            traces = _curve(rows.assign(at=rows[axis]), role, name)
            for row in bests[bests["stage"] == stage].to_dict(orient="records"):
                traces.append(_star(row[axis], row, role))
            for trace in traces:
                trace.showlegend = bool(trace.showlegend is None and column == 1)
                figure.add_trace(trace, row=1, col=column)
        values = np.unique(grid[axis].to_numpy(float))
        figure.update_xaxes(title=axis_title(table, axis), showgrid=False, **axis_scale(values), col=column)
    look.finish(figure, dark=dark, height=300)
    return figure.update_yaxes(tickformat=".0%").update_yaxes(title="best accuracy", col=1)


def together(table: pd.DataFrame, *, dark: bool = False) -> go.Figure:
    """Accuracy of several methods along one axis, their `effective` scale, before and after RI side by side.

    `table` has the columns of the sensitivity study's grid, and `effective`; every point was measured. Stars are bests.
    """
    methods = list(dict.fromkeys(table["method"]))
    colours = look.task_colours(methods, dark=dark)
    stages = [stage for stage in ROLES if stage in set(table["stage"])]
    titles = [f"{stage} RI" for stage in stages]
    figure = make_subplots(cols=len(stages), shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=titles)
    for column, stage in enumerate(stages, 1):
        for place, method in enumerate(methods):
            chosen = (table["stage"] == stage) & (table["method"] == method) & (table["effective"] > 0)
            rows = table[chosen].sort_values("effective")
            if rows.empty:
                continue
            title, best = METHODS[method].title, rows["accuracy"].to_numpy() == rows["accuracy"].max()
            symbols = np.where(best, "star", METHOD_SYMBOLS[place % len(METHOD_SYMBOLS)])
            said = [
                f"<b>{title}</b>, effective scale {row['effective']:.3g}<br>{hover(row, f'{stage} RI')}"
                for row in rows.to_dict(orient="records")
            ]
            size = np.where(best, 13, 7)
            figure.add_scatter(
                x=rows["effective"],
                y=rows["accuracy"],
                mode="lines+markers",
                name=title,
                legendgroup=method,
                showlegend=column == 1,
                line={"color": colours[method], "width": 2},
                marker={"symbol": symbols, "size": size, "color": colours[method], "line": {"width": 0}},
                hovertext=said,
                hovertemplate="%{hovertext}<extra></extra>",
                row=1,
                col=column,
            )
        figure.add_vline(1.0, line={"color": look.shades(dark).muted, "dash": "dash", "width": 1.5}, col=column)
    look.finish(figure, dark=dark, height=400)
    known = table["effective"][table["effective"] > 0].to_numpy(float)
    ends = np.geomspace(known.min(), known.max(), 5)
    figure.update_xaxes(title="effective scale", showgrid=False, **axis_scale(ends))
    figure.update_layout(margin_t=90, legend={"y": 1.12})
    figure.update_annotations(font_size=13)
    return figure.update_yaxes(tickformat=".0%").update_yaxes(title="mean accuracy over tasks", col=1)


def relief(table: pd.DataFrame, *, dark: bool = False) -> go.Figure:
    """The same two surfaces as a landscape, one beside the other on one colour scale and one height scale."""
    grid, shade = table[table["kind"].isin(["grid", "estimate"])], look.shades(dark)
    xs, ys = (np.unique(grid[axis].to_numpy(float)) for axis in ("x", "y"))
    stages = [stage for stage in ROLES if stage in set(grid["stage"])]
    titles = [f"{stage} RI" for stage in stages]
    figure = make_subplots(cols=len(stages), specs=[[{"type": "surface"}] * len(stages)], subplot_titles=titles)
    low, high = float(grid["accuracy"].min()), float(grid["accuracy"].max())
    for column, stage in enumerate(stages, 1):
        values = _matrix(grid[grid["stage"] == stage], xs, ys)
        figure.add_trace(go.Surface(x=xs, y=ys, z=values, coloraxis="coloraxis", connectgaps=True), row=1, col=column)
    look.finish(figure, dark=dark, height=520)
    axes = {
        f"{axis}axis": {
            "title": {"text": axis_title(table, axis), "font": {"size": 12}},
            **axis_scale(values),
            "backgroundcolor": shade.background,
            "gridcolor": shade.grid,
        }
        for axis, values in (("x", xs), ("y", ys))
    }
    height = {"title": {"text": "accuracy"}, "tickformat": ".0%", "range": [low, high], "gridcolor": shade.grid}
    figure.update_scenes(
        **axes,
        aspectmode="cube",
        camera_eye={"x": 1.9, "y": 1.9, "z": 1.2},
        zaxis=height | {"backgroundcolor": shade.background},
    )
    bar = {"title": {"text": "mean accuracy"}, "tickformat": ".0%", "thickness": 14}
    return figure.update_layout(
        margin_t=40, coloraxis={"colorscale": look.SEQUENTIAL, "cmin": low, "cmax": high, "colorbar": bar}
    )


def position_of(row: Row) -> str:
    """Say where a measured point is."""
    axes = ["x", "y"] if isinstance(row["y_name"], str) else ["x"]
    said = [f"{METHODS[row['method']].label(row[f'{axis}_name'])} = {words.signed(row[axis], '.4g')}" for axis in axes]
    return f"<b>{', '.join(said)}</b>"


def hover(row: Row, what: str) -> str:
    """Say a measured place with its interval."""
    interval = words.percent_range(row["accuracy_low"], row["accuracy_high"])
    return (
        f"{position_of(row)}<br>{what}: {words.percent(row['accuracy'])} ({interval})<br>"
        f"ξ {words.nats(row['interference'])}<br>{words.count(row['n'], 'image')}"
    )


def _matrix(part: pd.DataFrame, xs: npt.NDArray[np.float64], ys: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    square = part.pivot(index="y", columns="x", values="accuracy").reindex(index=ys, columns=xs)
    return square.to_numpy(dtype=np.float64)


def _dots(
    part: pd.DataFrame,
    values: npt.NDArray[np.float64],
    xs: npt.NDArray[np.float64],
    ys: npt.NDArray[np.float64],
    change: bool,
) -> go.Scatter:
    """Return the measured places of a stage, or their `change`: small, but large enough to be hovered and clicked."""
    measured = {(row["x"], row["y"]): row for row in part.to_dict(orient="records")}
    cells = [cell for cell in np.argwhere(np.isfinite(values)) if (xs[cell[1]], ys[cell[0]]) in measured]
    rows, columns = np.array(cells, dtype=int).reshape(-1, 2).T
    text = []
    for row, column in zip(rows, columns, strict=True):
        found = measured[xs[column], ys[row]]
        told = f"change {words.points(values[row, column] / 100)}<br>{words.count(found['n'], 'image')}"
        text.append(f"{position_of(found)}<br>{told}" if change else hover(found, "accuracy"))
    return go.Scatter(
        x=xs[columns],
        y=ys[rows],
        mode="markers",
        marker={"size": 6, "color": "rgba(255,255,255,0.3)", "line": {"width": 0.5, "color": "rgba(0,0,0,0.25)"}},
        customdata=[[float(xs[column]), float(ys[row])] for row, column in zip(rows, columns, strict=True)],
        hovertext=text,
        hovertemplate="%{hovertext}<extra></extra>",
        showlegend=False,
    )


def _mark(kind: str, place: tuple[float, float], says: str = "") -> go.Scatter:
    symbol = {"best": "star", "default": "circle-open", "your recipe": "x"}[kind]
    line = {"width": 2, "color": "#FFFFFF"} if kind == "default" else {"width": 1.5, "color": look.LIGHT.text}
    return go.Scatter(
        x=[place[0]],
        y=[place[1]],
        mode="markers",
        marker={"symbol": symbol, "size": 14 - 3 * (symbol == "x"), "color": "#FFFFFF", "line": line},
        hovertemplate=f"{says or kind}<extra></extra>",
        cliponaxis=False,
        showlegend=False,
    )


def _dressed(
    figure: go.Figure,
    table: pd.DataFrame,
    scales: Sequence[Mapping[str, Any]],
    axes: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
    dark: bool,
) -> go.Figure:
    look.finish(figure, dark=dark, height=470)
    bare = {"showgrid": False, "zeroline": False, "ticks": ""}
    figure.update_xaxes(title=axis_title(table, "x"), **bare, **axis_scale(axes[0]))
    figure.update_yaxes(**bare, **axis_scale(axes[1]))
    figure.update_yaxes(title=axis_title(table, "y"), col=1)
    bars = {"thickness": 14, "len": 0.46, "x": 1.0, "tick0": 0}
    accuracy, *changes = scales
    ends = np.array([accuracy["cmin"], accuracy["cmax"]])
    top = {"title": {"text": "accuracy", "font": {"size": 13}}, "y": 0.77, "tickformat": ".0%"}
    figure.update_layout(coloraxis={**accuracy, "colorbar": bars | top | {"dtick": _step(ends, _LABELS)}}, margin_t=40)
    for change in changes:
        bottom = look.SIGNED | {"title": {"text": "change<br>(points)", "font": {"size": 13}}, "y": 0.23}
        bottom["dtick"] = 100 * _step(np.array([change["cmin"], change["cmax"]]) / 100, _LABELS)
        figure.update_layout(coloraxis2={**change, "colorbar": bars | bottom})
    look.number_cells(figure)
    return figure.update_annotations(font_size=13)


def _levels(panels: Sequence[npt.NDArray[np.float64]], unit: float, most: int = _CONTOURS) -> dict[str, float]:
    """Return Plotly's contours of panels on one scale, at round values; `unit` is what an accuracy of 1 is."""
    known = _known(panels)
    size = _step(known / unit, most) * unit
    low, high = (float(end) for end in (known.min(), known.max()))
    return {"start": math.ceil(low / size) * size, "end": math.floor(high / size) * size, "size": size}


def _known(panels: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    found = [values[np.isfinite(values)] for values in panels]
    return np.concatenate(found) if any(map(len, found)) else np.zeros(1)


def _step(accuracies: npt.NDArray[np.float64], most: int) -> float:
    """Return the round step of which at most so many lie between the lowest and the highest."""
    return next((step for step in _STEPS if np.ptp(accuracies) <= most * step), _STEPS[-1])


def axis_scale(values: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Return an axis that holds sorted values: logarithmic where they are in ratios, with round labels."""
    low, high = float(values[0]), float(values[-1])
    if not _logarithmic(values):
        around = _AROUND * (high - low)
        return {"type": "linear", "range": [low - around, high + around], "nticks": 6}
    around = _AROUND * math.log10(high / low)
    shown = _log_ticks(low, high)
    return {
        "type": "log",
        "range": [math.log10(low) - around, math.log10(high) + around],
        "tickvals": shown,
        "ticktext": [f"{value:g}" for value in shown],
    }


def _log_ticks(low: float, high: float) -> list[float]:
    """Return round values from low to high: few where they span many powers of ten, some where they span none."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in _LOG_DIGITS:
        shown = [float(f"{digit}e{power}") for power in powers for digit in digits]
        shown = [value for value in shown if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(shown) <= _LOG_TICKS:
            break
    return shown if len(shown) > 1 else [float(f"{low:.2g}"), float(f"{high:.2g}")]


def _logarithmic(values: npt.NDArray[np.float64]) -> bool:
    """Whether values are spaced in ratios rather than in steps."""
    return bool(values[0] > 0 and len(values) > 2 and np.std(np.diff(np.log(values))) < np.std(np.diff(values)))
