"""The same images as several models see them: the map of the Embeddings page, for print."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ri_analysis.figures import look

_SIZE, _OPACITY, _LISTED = 4, 0.85, 24
_MARGIN = 0.04  # of the map's extent, around it


def clouds(data: Mapping[str, Any], selected: Collection[str] = ()) -> go.Figure:
    """The whole map in the light look: all panels at one scale, what is not `selected` in grey where something is.

    `data` is what the map component draws: `ids`, `panels` (each `title`, `x`, `y` and `colour`, a place in `palette`),
    `extent` (low and high x, low and high y), and `legend`, either `items` (`label`, `colour`) or a `gradient` with its
    ends `low` and `high`.
    """
    panels, palette, legend = data["panels"], data["palette"], data["legend"]
    figure = make_subplots(
        cols=len(panels), horizontal_spacing=0.03, subplot_titles=[panel["title"] for panel in panels]
    )
    chosen = np.isin(data["ids"], list(selected))
    shown = chosen if chosen.any() else np.ones(len(chosen), bool)
    for column, panel in enumerate(panels, 1):
        x, y, codes = (np.asarray(panel[name]) for name in ("x", "y", "colour"))
        for places, colours in ((~shown, look.UNSELECTED[False]), (shown, [palette[code] for code in codes[shown]])):
            marker = {"size": _SIZE, "opacity": _OPACITY, "color": colours}
            if places.any():
                figure.add_trace(_points(x[places], y[places], marker), row=1, col=column)
    look.finish(figure, dark=False, height=360)
    figure.add_traces(_scale(legend) if "gradient" in legend else _entries(legend["items"]))
    _frame(figure, data["extent"])
    # Below the panels: task names take more than one line in print.
    return figure.update_layout(margin_t=30, legend={"y": -0.03, "yanchor": "top", "itemsizing": "constant"})


def _points(x: npt.ArrayLike, y: npt.ArrayLike, marker: dict[str, Any]) -> go.Scatter:
    return go.Scatter(x=x, y=y, mode="markers", marker=marker, hoverinfo="skip", showlegend=False)


def _entries(items: Sequence[Mapping[str, str]]) -> list[go.Scatter]:
    """Return the lines of the legend, no more than fit."""
    shown = [_entry(**item) for item in items[:_LISTED]]
    if len(items) > _LISTED:
        shown.append(_entry(f"and {len(items) - _LISTED} more, whose colours repeat", "transparent"))
    return shown


def _entry(label: str, colour: str) -> go.Scatter:
    """Return a line of the legend: a trace without points."""
    symbol = {"color": "rgba(0,0,0,0)" if colour == "transparent" else colour, "size": 8}
    return go.Scatter(x=[None], y=[None], mode="markers", marker=symbol, name=label)


def _scale(legend: Mapping[str, Any]) -> list[go.Scatter]:
    """Return a trace without points that holds the colour scale."""
    bar = {"tickvals": [0, 1], "ticktext": [legend["low"], legend["high"].replace(", ", "<br>")], "thickness": 14}
    steps = legend["gradient"]
    scale = [[place / (len(steps) - 1), colour] for place, colour in enumerate(steps)]
    marker = {"color": [0], "cmin": 0, "cmax": 1, "colorscale": scale, "colorbar": bar, "showscale": True}
    return [_points([np.nan], [np.nan], marker)]


def _frame(figure: go.Figure, extent: Sequence[float]) -> None:
    """Show all of the map in each panel, a unit as long both ways; coordinates mean nothing, so there are none."""
    left, right, low, high = extent
    around = _MARGIN * max(right - left, high - low, 1e-9)
    bare = {"showgrid": False, "zeroline": False, "showticklabels": False, "showline": True, "mirror": True}
    figure.update_xaxes(range=[left - around, right + around], **bare)
    figure.update_yaxes(range=[low - around, high + around], **bare)
    for name in ("", *map(str, range(2, len(list(figure.select_xaxes())) + 1))):
        figure.layout[f"yaxis{name}"].update(scaleanchor=f"x{name}", constrain="domain", constraintoward="top")
        figure.layout[f"xaxis{name}"].update(constrain="domain")
