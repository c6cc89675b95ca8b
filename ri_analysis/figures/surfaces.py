"""Accuracy over one or two hyperparameters, before and after RI."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ri_analysis.figures import look, words
from ri_analysis.figures.look import AFTER, BEFORE, EXPERT

ROLES = {"before": BEFORE, "after": AFTER}
LABELS = {"scale": "λ"}
_TITLES = ("before RI", "after RI", "difference, after − before")
_TICKS = 5  # labels along an axis
_CONTOURS = 20  # at most, from the lowest to the highest

Row = Mapping[Hashable, Any]


def label(name: str) -> str:
    """Return what an axis is called."""
    return LABELS.get(name, name.replace("_", " "))


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
        ends = pd.concat([part["accuracy_high"], part["accuracy_low"][::-1]])
        figure.add_scatter(
            x=pd.concat([part["x"], part["x"][::-1]]),
            y=ends,
            fill="toself",
            fillcolor=look.faint(role.colour),
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(
            x=part["x"],
            y=part["accuracy"],
            mode="lines+markers",
            name=name,
            line={"color": role.colour, "width": 2},
            marker={"symbol": role.symbol, "size": 7, "color": role.colour},
            hovertext=[hover(row, name) for row in part.to_dict(orient="records")],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    for row in table[(table["kind"] == "best") & (table["run"] == 0)].to_dict(orient="records"):
        _mark_plateau(figure, row, ROLES[row["stage"]])
    name, values = str(table["x_name"].iloc[0]), np.unique(table["x"])
    log = _logarithmic(values)
    for row in table[table["kind"] == "default"].head(1).to_dict(orient="records"):
        _vertical(figure, row["x"], default, shade.muted, "dash", log)
    if here is not None:
        _vertical(figure, here, "your recipe", shade.text, "dot", log, line=1)
    look.finish(figure, dark=dark, height=420)
    figure.update_xaxes(title=label(name), type="log" if log else "linear", showgrid=False)
    if log:
        shown = [value for value in _LOG_TICKS if values[0] <= value <= values[-1]]
        figure.update_xaxes(tickvals=shown, ticktext=[f"{value:g}" for value in shown])
    figure.update_layout(margin_t=60, legend={"y": 1.06})
    return figure.update_yaxes(title="mean accuracy over tasks", tickformat=".0%")


_LOG_TICKS = tuple(digit * 10.0**power for power in range(-6, 3) for digit in (1, 2, 5))


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
    figure.add_scatter(
        x=[row["x"]],
        y=[row["accuracy"]],
        mode="markers",
        marker={"symbol": "star", "size": 14, "color": role.colour, "line": {"width": 1, "color": "#FFFFFF"}},
        showlegend=False,
        hovertemplate=f"best {role.name.removeprefix('merged ')}<br>{words.percent(row['accuracy'])}<extra></extra>",
    )


def _vertical(figure: go.Figure, value: float, text: str, colour: str, dash: str, log: bool, line: int = 0) -> None:
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

    Dots are the measured places, the rest is interpolated; a star is the best, a ring the default, a cross the reader's
    recipe at `here`. Cells are equally spaced, whatever the values. `customdata` of a dot is its (x, y).
    """
    grid = table[table["kind"] == "grid"]
    xs, ys = (np.unique(grid[axis].to_numpy(float)) for axis in ("x", "y"))
    cells = {stage: _matrix(grid[grid["stage"] == stage], xs, ys) for stage in ROLES if stage in set(grid["stage"])}
    panels = [*cells.values()] + ([cells["after"] - cells["before"]] if len(cells) == 2 else [])
    figure = make_subplots(
        cols=len(panels), shared_yaxes=True, horizontal_spacing=0.025, subplot_titles=_TITLES[: len(panels)]
    )
    shade, scales = look.shades(dark), _scales(list(cells.values()), panels)
    for column, values in enumerate(panels, 1):
        change = column == 3
        low, high = scales[change]
        figure.add_trace(
            go.Contour(
                z=values,
                coloraxis="coloraxis2" if change else "coloraxis",
                connectgaps=True,
                line={"width": 0.6, "color": shade.background},
                contours={"start": low, "end": high, "size": max(0.02, (high - low) / _CONTOURS)},
                hoverinfo="skip",
            ),
            row=1,
            col=column,
        )
        stage = list(cells)[0 if change else column - 1]
        figure.add_trace(_dots(grid[grid["stage"] == stage], values, xs, ys, change), row=1, col=column)
    for column, stage in enumerate(cells, 1):
        rows = table[(table["stage"] == stage) & table["kind"].isin(["best", "default"])]
        for row in rows.to_dict(orient="records"):
            figure.add_trace(_mark(row["kind"], (row["x"], row["y"]), xs, ys), row=1, col=column)
    if here is not None:
        for column in range(1, len(panels) + 1):
            figure.add_trace(_mark("your recipe", here, xs, ys), row=1, col=column)
    return _dressed(figure, table, scales, (xs, ys), dark)


def relief(table: pd.DataFrame, *, dark: bool = False) -> go.Figure:
    """The same two surfaces as a landscape, one beside the other on one colour scale and one height scale."""
    grid, shade = table[table["kind"] == "grid"], look.shades(dark)
    xs, ys = (np.unique(grid[axis].to_numpy(float)) for axis in ("x", "y"))
    stages = [stage for stage in ROLES if stage in set(grid["stage"])]
    figure = make_subplots(
        cols=len(stages), specs=[[{"type": "surface"}] * len(stages)], subplot_titles=_TITLES[: len(stages)]
    )
    low, high = float(grid["accuracy"].min()), float(grid["accuracy"].max())
    for column, stage in enumerate(stages, 1):
        values = _matrix(grid[grid["stage"] == stage], xs, ys)
        figure.add_trace(go.Surface(z=values, coloraxis="coloraxis", connectgaps=True), row=1, col=column)
    look.finish(figure, dark=dark, height=520)
    axes = {
        f"{axis}axis": {
            "title": {"text": label(str(table[f"{axis}_name"].iloc[0]))},
            "tickvals": _tick_places(values),
            "ticktext": [words.signed(values[place], ".3g") for place in _tick_places(values)],
            "backgroundcolor": shade.background,
            "gridcolor": shade.grid,
        }
        for axis, values in (("x", xs), ("y", ys))
    }
    height = {"title": {"text": "accuracy"}, "tickformat": ".0%", "range": [low, high], "gridcolor": shade.grid}
    figure.update_scenes(
        **axes, camera_eye={"x": 2.0, "y": 2.0, "z": 1.3}, zaxis=height | {"backgroundcolor": shade.background}
    )
    bar = {"title": {"text": "mean accuracy"}, "tickformat": ".0%", "thickness": 14}
    return figure.update_layout(
        margin_t=40, coloraxis={"colorscale": look.SEQUENTIAL, "cmin": low, "cmax": high, "colorbar": bar}
    )


def place_of(row: Row) -> str:
    """Say where a place is."""
    place = [f"{label(row['x_name'])} = {words.signed(row['x'], '.4g')}"]
    place += [f"{label(row['y_name'])} = {words.signed(row['y'], '.4g')}"] if isinstance(row["y_name"], str) else []
    return f"<b>{', '.join(place)}</b>"


def hover(row: Row, what: str) -> str:
    """Say a measured place with its interval."""
    interval = words.percent_range(row["accuracy_low"], row["accuracy_high"])
    return (
        f"{place_of(row)}<br>{what}: {words.percent(row['accuracy'])} ({interval})<br>"
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
    rows, columns = np.nonzero(np.isfinite(values))
    measured = {(row["x"], row["y"]): row for row in part.to_dict(orient="records")}
    text = []
    for row, column in zip(rows, columns, strict=True):
        found = measured[xs[column], ys[row]]
        told = f"change {words.points(values[row, column])}<br>{words.count(found['n'], 'image')}"
        text.append(f"{place_of(found)}<br>{told}" if change else hover(found, "accuracy"))
    return go.Scatter(
        x=columns,
        y=rows,
        mode="markers",
        marker={"size": 6, "color": "rgba(255,255,255,0.3)"},
        customdata=[[float(xs[column]), float(ys[row])] for row, column in zip(rows, columns, strict=True)],
        hovertext=text,
        hovertemplate="%{hovertext}<extra></extra>",
        showlegend=False,
    )


def _mark(
    kind: str, place: tuple[float, float], xs: npt.NDArray[np.float64], ys: npt.NDArray[np.float64]
) -> go.Scatter:
    symbol = {"best": "star", "default": "circle-open", "your recipe": "x-thin"}[kind]
    colour = {"best": "#FFFFFF", "default": "#FFFFFF", "your recipe": EXPERT.colour}[kind]
    return go.Scatter(
        x=[_index(xs, place[0])],
        y=[_index(ys, place[1])],
        mode="markers",
        marker={"symbol": symbol, "size": 14, "color": colour, "line": {"width": 2, "color": _edge(kind)}},
        hovertemplate=f"{kind}<extra></extra>",
        cliponaxis=False,
        showlegend=False,
    )


def _edge(kind: str) -> str:
    return {"best": "#1C2733", "default": "#FFFFFF", "your recipe": EXPERT.colour}[kind]


def _index(values: npt.NDArray[np.float64], value: float) -> float:
    """Return where a value lies among equally spaced cells."""
    return float(np.interp(value, values, np.arange(len(values))))


def _dressed(
    figure: go.Figure,
    table: pd.DataFrame,
    scales: Sequence[tuple[float, float]],
    axes: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
    dark: bool,
) -> go.Figure:
    look.finish(figure, dark=dark, height=470)
    for update, name, values in (
        (figure.update_xaxes, "x", axes[0]),
        (figure.update_yaxes, "y", axes[1]),
    ):
        places = _tick_places(values)
        update(
            tickvals=places,
            ticktext=[words.signed(values[place], ".2g") for place in places],
            showgrid=False,
            zeroline=False,
        )
        update(range=[-0.5, len(values) - 0.5])
        title = label(str(table[f"{name}_name"].iloc[0]))
        update(title=title) if name == "x" else update(title=title, col=1)
    bars = {"tickformat": ".0%", "thickness": 14, "len": 0.46, "x": 1.0}
    low, high = scales[0]
    top = {"title": {"text": "accuracy"}, "y": 0.77} | bars
    figure.update_layout(
        coloraxis={"colorscale": look.SEQUENTIAL, "cmin": low, "cmax": high, "colorbar": top}, margin_t=40
    )
    if len(scales) == 2:
        low, high = scales[1]
        bottom = {"title": {"text": "change"}, "y": 0.23} | bars | {"tickformat": "+.0%"}
        figure.update_layout(coloraxis2={"colorscale": _gains(dark), "cmin": low, "cmax": high, "colorbar": bottom})
    return figure.update_annotations(font_size=13)


def _scales(
    cells: Sequence[npt.NDArray[np.float64]], panels: Sequence[npt.NDArray[np.float64]]
) -> list[tuple[float, float]]:
    """Return the ends of the accuracies' scale, and of the changes' where there are any: the latter around zero."""
    known = np.concatenate([values[np.isfinite(values)] for values in cells])
    found = [(float(known.min()), float(max(known.max(), known.min() + 0.01)))]
    if len(panels) == 3:
        change = panels[2][np.isfinite(panels[2])]
        reach = max(0.01, float(np.abs(change).max())) if len(change) else 0.01
        found.append((-reach, reach))
    return found


def _gains(dark: bool) -> list[list[object]]:
    """Return the diverging scale turned round: of accuracies, more is after RI's blue."""
    stops = look.diverging(dark)
    return [
        [place, colour] for place, colour in zip((0.0, 0.5, 1.0), (stop[1] for stop in reversed(stops)), strict=True)
    ]


def _tick_places(values: npt.NDArray[np.float64]) -> list[int]:
    return sorted({round(place) for place in np.linspace(0, len(values) - 1, min(_TICKS, len(values)))})


def _logarithmic(values: npt.NDArray[np.float64]) -> bool:
    """Whether values are spaced in ratios rather than in steps."""
    return bool(values[0] > 0 and len(values) > 2 and np.std(np.diff(np.log(values))) < np.std(np.diff(values)))
