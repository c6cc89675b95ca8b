"""One look for every figure: what a colour means, type, grid and spacing, in a light and a dark version."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from PIL import ImageColor

from ri_analysis.sides import Sides

Side = TypeVar("Side")

# Of tasks: Okabe & Ito 2008 without their blue and vermillion, which mean after and before RI, and four more that are
# told apart from these with red-green colour blindness too.
TASKS = ("#E69F00", "#56B4E9", "#CC79A7", "#009E73", "#7E7EF1", "#AE138F", "#396049", "#288A0F")


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
BOTH = Role("merged after RI, then distilled", "#4A9BC8", "star")
TOGETHER = Role("merged after RI in two stages", "#009E73", "triangle-up")
QUICK_TOGETHER = Role("merged after quick-together", "#B8860B", "triangle-down")

RIGHT, WRONG = "#35978F", "#BF812D"  # whether a model gets an image right

SEQUENTIAL = "Cividis"
# Signs, by whether the theme is dark: green is below zero, or less; purple above it, or more; between them is zero.
_SIGNS = {False: ("#4D9221", "#F4F4F2", "#762A83"), True: ("#9CCB5A", "#1C232C", "#C99BE0")}

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

# An axis of changes: every number has its sign, but zero.
SIGNED: dict[str, Any] = {"tickformat": "+", "labelalias": {"+0": "0", "−0": "0"}}

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


def signed(values: npt.ArrayLike, dark: bool, least: float = 0.0) -> dict[str, Any]:
    """Return the colour scale of values around zero: `colorscale`, `cmin`, `cmax`, as a colour axis takes them.

    It ends at the lowest and the highest value, or at zero, so that no part of it is left unused; a value as far below
    zero as another is above has as strong a colour. It reaches as far as `least` on one side at least, so that rounding
    does not fill the colours.
    """
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    below, above = (max(0.0, float(side.max(initial=0.0))) for side in (-known, known))
    if not (below or above):
        below = above = least or 1.0
    elif above >= below:
        above = max(above, least)
    else:
        below = max(below, least)
    return _around_zero(-below, above, dark)


def _around_zero(low: float, high: float, dark: bool) -> dict[str, Any]:
    less, zero, more = _SIGNS[dark]
    reach = max(-low, high)
    stops = [[0.0, _mixed(zero, less, -low / reach)]] if low < 0 else []
    stops += [[-low / (high - low), zero]]
    stops += [[1.0, _mixed(zero, more, high / reach)]] if high > 0 else []
    return {"colorscale": stops, "cmin": low, "cmax": high}


def _mixed(colour: str, other: str, share: float) -> str:
    pairs = zip(ImageColor.getrgb(colour), ImageColor.getrgb(other), strict=True)
    return "#" + "".join(f"{round(one + (two - one) * share):02X}" for one, two in pairs)


def shown_colours(values: npt.ArrayLike, colorscale: Any, low: float, high: float) -> npt.NDArray[np.float64]:
    """Return the colours, (…, 3) from 0 to 255, that a scale from `low` to `high` gives to values."""
    shares = np.clip((np.nan_to_num(np.asarray(values, float)) - low) / ((high - low) or 1.0), 0, 1)
    places, colours = zip(*colorscale, strict=True)
    stops = np.array([ImageColor.getrgb(colour)[:3] for colour in colours], float)
    return np.stack([np.interp(shares, places, stops[:, channel]) for channel in range(3)], axis=-1).round()


def luminance(colour: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return WCAG's relative luminance of colours (…, 3) from 0 to 255."""
    channels = np.asarray(colour, float) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ (0.2126, 0.7152, 0.0722))


def contrast(colour: str, other: str) -> float:
    """Return WCAG's contrast ratio of two colours."""
    darker, lighter = sorted(float(luminance(ImageColor.getrgb(each))) for each in (colour, other))
    return (lighter + 0.05) / (darker + 0.05)


def readable(colours: npt.ArrayLike) -> npt.NDArray[np.str_]:
    """Return for each colour (…, 3) black or white, whichever stands out more: by 4.5 to 1 at least."""
    return np.where(luminance(colours) > 0.179, "#000000", "#FFFFFF")


def number_cells(figure: go.Figure) -> go.Figure:
    """Give each number that is written on a coloured cell, or along a contour, the ink that stands out from it."""
    for trace in filter(numbers_cells, figure.data):
        trace.textfont.color = _inks(figure.layout[trace.marker.coloraxis], trace.marker.color)
    for trace in figure.select_traces(lambda trace: trace.type == "contour" and trace.contours.showlabels):
        (ink,) = _inks(figure.layout[trace.coloraxis], [trace.contours.start])
        trace.update(line_color=ink, contours_labelfont_color=ink)
    return figure


def _inks(axis: Any, values: npt.ArrayLike) -> list[str]:
    return list(map(str, readable(shown_colours(values, axis.colorscale, axis.cmin, axis.cmax))))


def numbers_cells(trace: Any) -> bool:
    """Whether a trace writes numbers on coloured cells: texts of points that hold the colour axis, without markers."""
    return bool(trace.type == "scatter" and trace.mode == "markers+text" and trace.marker.coloraxis)


def task_colours(tasks: Sequence[str], *, dark: bool = False) -> dict[str, str]:
    """Return one colour per task, by its place in the suite, that stands out from the theme's background by 3 to 1.

    The first eight are TASKS, as far as they do so; the next are the same hues darker, or lighter in the dark theme.
    """
    return {task: _TONES[dark][index % len(_TONES[dark])] for index, task in enumerate(tasks)}


def _standing_out(colour: str, share: float, dark: bool) -> str:
    """Return a colour with a share of black, on dark of white, and as much more as it takes to stand out by 3 to 1."""
    ground, away = (DARK.background, "#FFFFFF") if dark else (LIGHT.background, "#000000")
    tones = (_mixed(colour, away, min(1.0, share + step / 50)) for step in range(51))
    return next(tone for tone in tones if contrast(tone, ground) >= 3)


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
    return number_cells(go.Figure(_lightened(plain)).update_layout(template=template()))


# By whether the theme is dark: the colours of 24 tasks, three of each hue.
_TONES = {
    dark: [_standing_out(hue, share, dark) for share in (0, 0.35, 0.6) for hue in TASKS] for dark in (False, True)
}
_LIGHT_OF = {getattr(DARK, item.name): getattr(LIGHT, item.name) for item in fields(Shades)}
_IN_TEXT = re.compile(r"(?<=color:)#[0-9A-F]{6}")
_LIGHT_OF |= dict(zip(_TONES[True], _TONES[False], strict=True))


def _lightened(part: Any) -> Any:
    """Put the light theme's colour in every place of the dark one's."""
    if isinstance(part, dict):
        zeros = [stop[1] for stop in part.get("colorscale") or () if len(stop) == 2]
        if _SIGNS[True][1] in zeros:
            part = part | _around_zero(part["cmin"], part["cmax"], dark=False)
        return {name: _lightened(inner) for name, inner in part.items()}
    if isinstance(part, list | tuple):
        return [_lightened(item) for item in part]
    if isinstance(part, str):  # a colour, or a text with coloured parts
        return _LIGHT_OF.get(part) or _IN_TEXT.sub(lambda found: _LIGHT_OF.get(found[0], found[0]), part)
    return part


def finish(figure: go.Figure, *, dark: bool, height: int) -> go.Figure:
    """Put the look on a figure."""
    return figure.update_layout(template=template(dark), height=height)
