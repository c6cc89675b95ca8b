"""One look for every figure: what a colour means, type, grid and spacing, in a light and a dark version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import pandas as pd
import plotly.graph_objects as go

from ri_analysis.sides import Sides

Side = TypeVar("Side")

# Okabe & Ito 2008, told apart with every common colour blindness.
OKABE_ITO = ("#E69F00", "#56B4E9", "#CC79A7", "#009E73", "#D55E00", "#0072B2", "#B8A800", "#8A8F98")


@dataclass(frozen=True)
class Role:
    """What a model is in a comparison: its name in legends, its colour and its marker."""

    name: str
    colour: str
    symbol: str


ZERO_SHOT = Role("zero-shot", "#8A8F98", "line-ns")
EXPERT = Role("expert", "#009E73", "line-ns")
BEFORE = Role("merged before RI", "#D55E00", "circle")
AFTER = Role("merged after RI", "#0072B2", "diamond")
DISTILLED = Role("merged, then distilled", "#CC79A7", "square")

SEQUENTIAL = "Cividis"
# Blue is less than before, vermillion more; white (dark: near black) is no change.
_DIVERGING = ((0.0, AFTER.colour), (0.5, "#F4F4F2"), (1.0, BEFORE.colour))
_DIVERGING_DARK = ((0.0, "#56B4E9"), (0.5, "#1C232C"), (1.0, "#F0894A"))

FONT = '"Source Sans", "Source Sans 3", "Helvetica Neue", Arial, sans-serif'


@dataclass(frozen=True)
class Shades:
    """The neutral colours of one theme."""

    background: str
    text: str
    muted: str
    grid: str
    band: str


LIGHT = Shades("#FFFFFF", "#1C2733", "#5B6875", "#E6EBF0", "#DCE3EA")
DARK = Shades("#12171E", "#E4E9EE", "#9AA7B4", "#27303A", "#2F3945")

# Of points beside a selection, by whether the theme is dark.
UNSELECTED = {False: "#C3CBD3", True: "#434D58"}

# Every chart's mode bar saves a vector image from the reader's own browser, and shows no more buttons than needed.
CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "toImageButtonOptions": {"format": "svg", "filename": "ri-analysis"},
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
}


def roles(sides: Sides[Side]) -> list[tuple[Role, Side]]:
    """Return what there is before and after RI, each with its role."""
    return list(zip((BEFORE, AFTER), sides, strict=False))


def shades(dark: bool) -> Shades:
    """Return the neutral colours of a theme."""
    return DARK if dark else LIGHT


def diverging(dark: bool) -> list[list[object]]:
    """Return the colour scale of differences; its middle is zero."""
    return [list(stop) for stop in (_DIVERGING_DARK if dark else _DIVERGING)]


def task_colours(tasks: Sequence[str]) -> dict[str, str]:
    """Return one colour per task, by its place in the suite.

    The first eight are Okabe-Ito's; the next eight are darker versions, then lighter ones.
    """
    return {task: _colour(index) for index, task in enumerate(tasks)}


def _colour(index: int) -> str:
    base = OKABE_ITO[index % len(OKABE_ITO)]
    towards, share = ((0, 0.0), (0, 0.4), (255, 0.45))[index // len(OKABE_ITO) % 3]
    channels = (int(base[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(value + (towards - value) * share):02X}" for value in channels)


def faint(colour: str, opacity: float = 0.15) -> str:
    """Return a colour that others show through."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def row_height(rows: int) -> int:
    """Return the pixels of each of so many rows of bars: less where there are many, still legible."""
    return min(38, max(26, 600 // max(1, rows)))


def error_bar(table: pd.DataFrame, value: str, low: str, high: str, colour: str) -> dict[str, object]:
    """Return Plotly's error bar for a column and the columns of its interval."""
    above, below = table[high] - table[value], table[value] - table[low]
    return {"type": "data", "array": above, "arrayminus": below, "thickness": 1.4, "width": 3, "color": colour}


def template(dark: bool = False) -> go.layout.Template:
    """Return the Plotly template of a theme."""
    shade = shades(dark)
    axis = {
        "gridcolor": shade.grid,
        "linecolor": shade.grid,
        "zerolinecolor": shade.grid,
        "tickfont": {"color": shade.muted, "size": 12},
        "title": {"font": {"color": shade.muted, "size": 13}, "standoff": 10},
        "automargin": True,
        "ticklabelstandoff": 5,
        "fixedrange": False,
    }
    layout = go.Layout(
        font={"family": FONT, "size": 13, "color": shade.text},
        title={"font": {"size": 15}, "x": 0, "xanchor": "left"},
        paper_bgcolor=shade.background,
        plot_bgcolor=shade.background,
        xaxis=axis,
        yaxis=axis,
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "xanchor": "left", "title": {"text": ""}},
        hoverlabel={"font": {"family": FONT, "size": 13}, "align": "left"},
        margin={"l": 8, "r": 16, "t": 36, "b": 8},
        bargap=0.3,
        bargroupgap=0.08,
        dragmode="zoom",
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": shade.grid, "activecolor": shade.muted},
    )
    return go.layout.Template(layout=layout)


def in_light(figure: go.Figure) -> go.Figure:
    """Return a figure in the light look, whichever it was drawn in; `figure` itself stays as it is."""
    plain = figure.to_plotly_json()
    plain["layout"].pop("template", None)
    return go.Figure(_lightened(plain)).update_layout(template=template())


_NEUTRALS = {getattr(DARK, item.name): getattr(LIGHT, item.name) for item in fields(Shades)}
_SCALES = {dark: light for (_, dark), (_, light) in zip(_DIVERGING_DARK, _DIVERGING, strict=True)}


def _lightened(part: Any, key: str = "") -> Any:
    """Put the light theme's colour in every place of the dark one's."""
    if isinstance(part, dict):
        return {name: _lightened(inner, name) for name, inner in part.items()}
    if isinstance(part, list | tuple):
        dark_scale = key == "colorscale" and set(_SCALES) <= {stop[1] for stop in part if len(stop) == 2}
        return [[stop[0], _SCALES[stop[1]]] for stop in part] if dark_scale else [_lightened(item) for item in part]
    return _NEUTRALS.get(part, part) if isinstance(part, str) else part


def finish(figure: go.Figure, *, dark: bool, height: int) -> go.Figure:
    """Put the look on a figure."""
    return figure.update_layout(template=template(dark), height=height)
