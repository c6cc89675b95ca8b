"""A figure as it goes into a paper: light, at its printed size, text of 8 to 9 points, nothing rastered needlessly."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from ri_analysis.export import fonts
from ri_analysis.figures import look

INCH = 96  # CSS pixels
POINT = INCH / 72
SMALLEST, LARGEST = 8 * POINT, 9 * POINT  # of text in print, in pixels
_TALLEST = 0.85  # of the width: a panel among others one below the other
_SQUARE = 1.1  # of its width: a landscape, which would be cut off at the sides of anything taller
_LETTER = 0.55  # of the size of text: how wide a letter or digit is
_AROUND = 1.0  # inches beside a figure's panels, for labels
_SCREEN = 13  # pixels of ordinary text on a page
# Inches that panels side by side must have each, more where each has labels of its own; others go one below the other.
_PANEL, _PANEL_WITH_LABELS = 1.75, 3.2
# Inches between panels one below the other: for the next panel's title, and for labels where each panel has its own.
_GAP, _GAP_WITH_LABELS = 0.4, 0.9
_CELLS = 10_000  # a matrix with more is left to the raster
_RASTERED = ("surface", "scatter3d", "mesh3d", "heatmap", "image", "scattergl", "histogram2d")


def for_paper(figure: go.Figure, width: float, height: float | None = None) -> go.Figure:
    """Return a figure at a printed width and height in inches; without a height, its own is kept to scale."""
    made = look.in_light(figure)
    _points(made)
    _cells(made, (width - _AROUND) / max(1, 1 if _crowded(made, width) else len(_panels(made))))
    if height is None:
        height = natural_height(figure, width)
    made.update_layout(width=width * INCH, height=height * INCH, autosize=False)
    if panels := _crowded(made, width):
        _stack(made, panels, height)
    return _typed(made)


def natural_height(figure: go.Figure, width: float) -> float:
    """Return the height in inches that suits a figure at a width: panels one below the other need room each."""
    own = float(figure.layout.height or 400) * LARGEST / _SCREEN / INCH
    if scenes := len(_axes(figure, "scene")):
        own = min(own, _SQUARE * width / scenes)
    stacked = len(_crowded(figure, width))
    return round(min(own, _TALLEST * width) * stacked if stacked else own, 2)


def rastered(figure: go.Figure) -> bool:
    """Whether a figure that went through `for_paper` still has parts that no format can hold as vectors."""
    return any(trace.type in _RASTERED for trace in figure.data)


# --- nothing rastered needlessly ----------------------------------------------------------------------------


def _points(figure: go.Figure) -> None:
    """Draw points of WebGL as ordinary ones: a vector file would hold them as a picture."""
    traces = []
    for trace in figure.data:
        plain = trace.to_plotly_json()
        traces.append(go.Scatter(plain | {"type": "scatter"}) if trace.type == "scattergl" else trace)
    figure.data = ()
    figure.add_traces(traces)


def _cells(figure: go.Figure, width: float) -> None:
    """Draw the cells of matrices as rectangles, which browsers would write as a picture; `width` in inches is each's.

    Numbers stay in cells that are wide enough for them.
    """
    kept: list[Any] = []
    shapes = list(figure.layout.shapes)
    for trace in figure.data:
        if trace.type == "heatmap" and _array(trace.z).size <= _CELLS:
            shapes += _rectangles(figure, trace)
            kept.append(_centres(figure, trace))
        elif not look.numbers_cells(trace) or _widest(trace) < width / max(1, len(set(trace.x))):
            kept.append(trace)
    figure.data = ()
    figure.add_traces(kept)
    figure.layout.shapes = shapes


def _rectangles(figure: go.Figure, trace: go.Heatmap) -> Iterator[dict[str, Any]]:
    values = _array(trace.z).astype(float)
    colours = _colours(figure, trace, values)
    xs, ys = _edges(trace.x, values.shape[1]), _edges(trace.y, values.shape[0])
    line = {"width": trace.xgap or 0, "color": figure.layout.plot_bgcolor or look.LIGHT.background}
    for (row, column), _ in np.ndenumerate(values):
        if np.isfinite(values[row, column]):
            yield {
                "type": "rect",
                "xref": trace.xaxis or "x",
                "yref": trace.yaxis or "y",
                "x0": xs[column],
                "x1": xs[column + 1],
                "y0": ys[row],
                "y1": ys[row + 1],
                "fillcolor": colours[row][column],
                "line": line,
                "layer": "below",
            }


def _widest(trace: go.Scatter) -> float:
    """Return how many inches the longest number in a matrix's cells takes."""
    return max(map(len, trace.text), default=0) * _LETTER * SMALLEST / INCH


def _centres(figure: go.Figure, trace: go.Heatmap) -> go.Scatter:
    """Return the middles of a matrix's cells, which hold the axes and the colour scale."""
    values = _array(trace.z).astype(float)
    rows, columns = (part.ravel() for part in np.indices(values.shape))
    names = [
        list(range(size)) if given is None else list(_array(given))
        for given, size in ((trace.x, values.shape[1]), (trace.y, values.shape[0]))
    ]
    for axis, given, size in (("x", trace.x, values.shape[1]), ("y", trace.y, values.shape[0])):
        _frame(figure, axis, getattr(trace, f"{axis}axis") or axis, _edges(given, size))
    return go.Scatter(
        x=[names[0][column] for column in columns],
        y=[names[1][row] for row in rows],
        xaxis=trace.xaxis,
        yaxis=trace.yaxis,
        mode="markers",
        marker={"opacity": 0, "color": values.ravel(), **_scale_of(trace)},
        showlegend=False,
    )


def _scale_of(trace: go.Heatmap) -> dict[str, Any]:
    if trace.coloraxis is not None:
        return {"coloraxis": trace.coloraxis}
    return {
        "colorscale": trace.colorscale,
        "cmin": trace.zmin,
        "cmax": trace.zmax,
        "showscale": trace.showscale,
        "colorbar": trace.colorbar,
    }


def _frame(figure: go.Figure, letter: str, name: str, edges: npt.NDArray[np.float64]) -> None:
    """Let an axis end where the outer cells end, in its own direction."""
    axis = figure.layout[f"{letter}axis{name[1:]}"]
    ends = [float(edges[0]), float(edges[-1])]
    if axis.range is None:
        axis.range = ends[::-1] if axis.autorange == "reversed" else ends
        axis.autorange = False


def _edges(given: Any, size: int) -> npt.NDArray[np.float64]:
    """Return the size + 1 edges of cells: halfway between numbers, halfway between the places of names."""
    try:
        middles = np.arange(size, dtype=float) if given is None else _array(given).astype(float)
    except ValueError:
        middles = np.arange(size, dtype=float)
    if len(middles) == 1:
        return np.array([middles[0] - 0.5, middles[0] + 0.5])
    inner = (middles[1:] + middles[:-1]) / 2
    return np.concatenate([[2 * middles[0] - inner[0]], inner, [2 * middles[-1] - inner[-1]]])


def _array(given: Any) -> npt.NDArray[Any]:
    """Return values as an array; Plotly writes arrays of numbers as base64 (`bdata`, `dtype`, `shape`)."""
    if not isinstance(given, dict):
        return np.asarray(given)
    flat = np.frombuffer(base64.b64decode(given["bdata"]), np.dtype(given["dtype"]))
    shape = given.get("shape")
    return flat if shape is None else flat.reshape([int(size) for size in str(shape).split(",")])


def _colours(figure: go.Figure, trace: go.Heatmap, values: npt.NDArray[np.float64]) -> list[list[str]]:
    """Return the colour of every cell as the browser would choose it."""
    if trace.coloraxis is None:
        scale, low, high = trace.colorscale, trace.zmin, trace.zmax
    else:
        axis = figure.layout[trace.coloraxis]
        scale, low, high = axis.colorscale, axis.cmin, axis.cmax
    known = values[np.isfinite(values)]
    low = float(known.min() if low is None and known.size else low or 0.0)
    high = float(known.max() if high is None and known.size else high or 1.0)
    channels = look.shown_colours(values, scale, low, high)
    return [[f"rgb({red:.0f},{green:.0f},{blue:.0f})" for red, green, blue in row] for row in channels]


# --- panels -------------------------------------------------------------------------------------------------


def _crowded(figure: go.Figure, width: float) -> list[tuple[float, float]]:
    """Return the panels that are too narrow side by side at a width in inches; none where they fit."""
    panels = _panels(figure)
    labelled = [axis for _, axis in _axes(figure, "yaxis") if axis.showticklabels is not False]
    least = _PANEL_WITH_LABELS if len(labelled) > 1 else _PANEL
    return panels if len(panels) > 1 and width / len(panels) < least else []


def _panels(figure: go.Figure) -> list[tuple[float, float]]:
    """Return the horizontal extents of panels in one row, left to right; none where there are several rows."""
    if _axes(figure, "scene"):
        return []
    rows = {tuple(axis.domain) for _, axis in _axes(figure, "yaxis") if axis.domain is not None}
    columns = sorted({tuple(axis.domain) for _, axis in _axes(figure, "xaxis") if axis.domain is not None})
    return columns if len(rows) == 1 else []


def _axes(figure: go.Figure, kind: str) -> list[tuple[str, Any]]:
    """Return the axes or scenes that a figure has, by name."""
    return [(name, figure.layout[name]) for name in figure.layout.to_plotly_json() if name.startswith(kind)]


def _stack(figure: go.Figure, panels: list[tuple[float, float]], height: float) -> None:
    """Put panels that stand side by side one below the other."""
    lower = [name for name, axis in _axes(figure, "xaxis") if tuple(axis.domain) == panels[-1]]
    shared = len({(axis.title.text, axis.type) for _, axis in _axes(figure, "xaxis")}) == 1
    gap = min((_GAP if shared else _GAP_WITH_LABELS) / max(height - 1.0, 1.0), 0.5 / len(panels))
    share = (1 - gap * (len(panels) - 1)) / len(panels)
    rows = {panel: (1 - place * (share + gap) - share, 1 - place * (share + gap)) for place, panel in enumerate(panels)}
    rows = {panel: (max(0.0, low), min(1.0, high)) for panel, (low, high) in rows.items()}
    for name, axis in _axes(figure, "xaxis"):
        panel = tuple(axis.domain)
        if shared and name not in lower:
            axis.update(showticklabels=False, title=None)
        other = figure.layout["yaxis" + (axis.anchor or "y")[1:]]
        other.domain, axis.domain = rows[panel], (0.0, 1.0)
        if other.showticklabels is False:
            other.showticklabels, other.matches = True, None
            other.update(_names(figure.layout.yaxis))
    for note in figure.layout.annotations:
        inside = [panel for panel in panels if note.xref == "paper" and panel[0] <= (note.x or 0) <= panel[1]]
        if inside and note.yref == "paper":
            low, high = rows[inside[0]]
            note.x, note.y = 0.5, low + (high - low) * (note.y or 0)


def _names(axis: Any) -> dict[str, Any]:
    """Return what an axis that had shared another's labels needs of it."""
    return {key: axis[key] for key in ("tickvals", "ticktext", "tickfont", "dtick") if axis[key] is not None}


# --- text ---------------------------------------------------------------------------------------------------


def _typed(figure: go.Figure) -> go.Figure:
    """Return the figure with all text in the embedded font, between 8 and 9 points."""
    figure.update_layout(font={"family": fonts.STACK, "size": LARGEST})
    plain = figure.to_plotly_json()
    _shrink(plain)
    return go.Figure(plain)


def _shrink(part: Any) -> None:
    if isinstance(part, dict):
        for key, inner in part.items():
            if key.endswith("font") and isinstance(inner, dict) and isinstance(inner.get("size"), int | float):
                inner["size"] = min(LARGEST, max(SMALLEST, inner["size"] * LARGEST / _SCREEN))
            _shrink(inner)
    elif isinstance(part, list | tuple):
        for inner in part:
            _shrink(inner)
