"""From clouds and a map to what the interactive map and the figure for print draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from plotly.colors import sample_colorscale

from ri_analysis.analyses.clouds import EXPERT, PRETRAINED
from ri_analysis.analyses.maps import Map
from ri_analysis.figures import look, words
from ri_analysis.sides import AFTER, BEFORE

TITLES = {
    PRETRAINED: "pretrained",
    EXPERT: "own expert",
    BEFORE: "merged before RI",
    AFTER: "merged after RI",
}
COLOURS = {
    "task": "task",
    "class": "class",
    "right": "right or wrong",
    "drift": "drift (1 − cosine)",
    "model": "model",
}
_ROLES = {PRETRAINED: look.ZERO_SHOT, EXPERT: look.EXPERT, BEFORE: look.BEFORE, AFTER: look.AFTER}
_RIGHT, _WRONG = ("right", look.RIGHT), ("wrong", look.WRONG)
_STEPS, _LISTED = 32, 24

Index = npt.NDArray[np.int64]


def payload(
    images: pd.DataFrame,
    rows: Index,
    drawn: Map,
    models: tuple[str, str],
    colour: str,
    tasks: tuple[str, ...],
    *,
    name: str,
    pictures: str,
    dark: bool = False,
) -> dict[str, Any]:
    """Return the drawing's data for the points `rows` of `images`.

    `models` are shown left and right; `tasks` are all of the suite's, so that each keeps its colour; `name` names the
    map, so that zoom and place survive a change of colour; `pictures` names the sheet of thumbnails.
    """
    shown = images.iloc[rows]
    palette, codes, legend = _colours(shown, models, colour, tasks, dark)
    panels = [
        {
            "title": TITLES[model],
            "x": _rounded(drawn.points[model][rows, 0]),
            "y": _rounded(drawn.points[model][rows, 1]),
            "colour": code.tolist(),
        }
        for model, code in zip(models, codes, strict=True)
    ]
    everywhere = np.concatenate([points[rows] for points in drawn.points.values()])
    low, high = everywhere.min(axis=0), everywhere.max(axis=0)
    return {
        "version": f"{name}|{models}|{colour}|{dark}|{len(rows)}",
        "places": f"{name}|{len(rows)}",
        "ids": shown["id"].tolist(),
        "panels": panels,
        "extent": [float(low[0]), float(high[0]), float(low[1]), float(high[1])],
        "palette": palette,
        "legend": legend,
        "ground": look.shades(dark).background,
        "grey": look.UNSELECTED[dark],
        "ink": look.shades(dark).text,
        "texts": _texts(shown, models),
        "pictures": pictures,
        "alt": f"{words.count(len(rows), 'image')} of {words.count(shown['task'].nunique(), 'task')} as points, "
        f"coloured by {COLOURS[colour]}. Arrow keys move the map, plus and minus zoom, Escape clears the selection.",
    }


def _rounded(values: npt.NDArray[np.float32]) -> list[float]:
    return [round(float(value), 4) for value in values]


def _colours(
    shown: pd.DataFrame, models: tuple[str, str], colour: str, tasks: tuple[str, ...], dark: bool
) -> tuple[list[str], list[Index], dict[str, Any]]:
    """Return the palette, each panel's places in it, and the legend."""
    if colour == "drift":
        return _drift_colours(shown, models)
    if colour == "right":
        wrong = [(~shown[f"{model}_right"].to_numpy(bool)).astype(np.int64) for model in models]
        return [_RIGHT[1], _WRONG[1]], wrong, _listed([_RIGHT, _WRONG])
    if colour == "model":
        roles = [(_ROLES[model].name, _ROLES[model].colour) for model in models]
        codes = [np.full(len(shown), place) for place in range(len(models))]
        return [each for _, each in roles], codes, _listed(list(dict.fromkeys(roles)))
    if colour == "task":
        colours, column = look.task_colours(tasks, dark=dark), shown["task"]
    else:
        column = shown["class"]
        colours = look.task_colours(list(dict.fromkeys(column.sort_values())), dark=dark)
    present = set(column)
    names = [name for name in colours if name in present]
    place = {name: number for number, name in enumerate(names)}
    codes = [column.map(place).to_numpy(np.int64)] * len(models)
    return [colours[name] for name in names], codes, _listed([(name, colours[name]) for name in names])


def _drift_colours(shown: pd.DataFrame, models: tuple[str, str]) -> tuple[list[str], list[Index], dict[str, Any]]:
    """Colour by drift on one scale for both panels; the experts' own drift is zero."""
    zero = np.zeros(len(shown))
    values = [zero if model == EXPERT else shown[f"{model}_drift"].to_numpy(np.float64) for model in models]
    top = float(np.quantile(np.concatenate(values), 0.99)) or 1.0
    codes = [np.clip(value / top * (_STEPS - 1), 0, _STEPS - 1).astype(np.int64) for value in values]
    palette = sample_colorscale(look.SEQUENTIAL, [step / (_STEPS - 1) for step in range(_STEPS)])
    return palette, codes, {"gradient": palette[::4], "low": "0", "high": f"{top:.2f} and more, 1 − cosine"}


def _listed(items: list[tuple[str, str]]) -> dict[str, Any]:
    rows = [{"label": label, "colour": colour} for label, colour in items[:_LISTED]]
    if len(items) > _LISTED:
        rest = f"and {len(items) - _LISTED} more, whose colours repeat: hover for names"
        rows.append({"label": rest, "colour": "transparent"})
    return {"items": rows}


def _texts(shown: pd.DataFrame, models: tuple[str, str]) -> list[list[str]]:
    columns = [EXPERT, *(model for model in dict.fromkeys(models) if model != EXPERT)]
    lines = [(shown["class"] + " (" + shown["task"] + ")").tolist()]
    for model in columns:
        mark = np.where(shown[f"{model}_right"], " ✓", "")
        said = [f"{TITLES[model]}: {says}{tick}" for says, tick in zip(shown[f"{model}_says"], mark, strict=True)]
        if model != EXPERT:
            said = [f"{text}, drift {drift:.3f}" for text, drift in zip(said, shown[f"{model}_drift"], strict=True)]
        lines.append(said)
    return [list(each) for each in zip(*lines, strict=True)]
