"""From clouds and a map to what the interactive map and the figure for print draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from plotly.colors import sample_colorscale

from ri_analysis.analyses.clouds import EXPERT, PRETRAINED, Clouds
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
_STEPS = 32
_DISTINCT = 8  # colours that are easily told apart

Index = npt.NDArray[np.int64]


class Placed(Protocol):
    """Images and where a map places them (see `embeddings.Embedded`)."""

    @property
    def clouds(self) -> Clouds: ...
    @property
    def drawn(self) -> Map: ...
    @property
    def classes(self) -> pd.DataFrame: ...


def payload(
    found: Placed,
    rows: Index,
    models: Sequence[str],
    colour: str,
    tasks: tuple[str, ...],
    *,
    name: str,
    pictures: str,
    dark: bool = False,
) -> dict[str, Any]:
    """Return the drawing's data for the points `rows` of the images.

    `models` are shown from left to right; `tasks` are all of the suite's, so that each keeps its colour; `name` names
    the map, so that zoom and place survive a change of colour; `pictures` names the sheet of thumbnails.
    """
    drawn, shown = found.drawn, found.clouds.images.iloc[rows]
    palette, codes, legend = _colours(shown, models, colour, tasks, dark)
    panels = [
        {"title": TITLES[model], "x": points[:, 0], "y": points[:, 1], "colour": code.astype(np.uint16)}
        for model, code, points in zip(models, codes, (drawn.points[model][rows] for model in models), strict=True)
    ]
    everywhere = np.concatenate([points[rows] for points in drawn.points.values()])
    low, high = everywhere.min(axis=0), everywhere.max(axis=0)
    return {
        "version": f"{name}|{','.join(models)}|{colour}|{dark}|{len(rows)}",
        "places": f"{name}|{len(rows)}",
        "ids": shown["id"].tolist(),
        "panels": panels,
        "extent": [float(low[0]), float(high[0]), float(low[1]), float(high[1])],
        "palette": palette,
        "distinct": list(look.task_colours([str(place) for place in range(_DISTINCT)], dark=dark).values()),
        "legend": legend,
        "ground": look.shades(dark).background,
        "grey": look.UNSELECTED[dark],
        "ink": look.shades(dark).text,
        "prototypes": _prototypes(found, legend, colour, set(shown["task"])),
        "pictures": pictures,
        "alt": f"{words.count(len(rows), 'image')} of {words.count(shown['task'].nunique(), 'task')} as points, "
        f"coloured by {COLOURS[colour]}. Arrow keys move the map, plus and minus zoom, Enter selects what is in view, "
        "Escape clears the selection.",
    } | _said(shown, models)


def _said(shown: pd.DataFrame, models: Sequence[str]) -> dict[str, Any]:
    """Return what the images are and what the models say of them, as places in the lists `classes` and `tasks`."""
    columns = [EXPERT, *(model for model in dict.fromkeys(models) if model != EXPERT)]
    texts = [shown["class"], *(shown[f"{model}_says"] for model in columns)]
    codes, classes = pd.factorize(pd.concat(texts, ignore_index=True))
    truth, *says = np.split(codes.astype(np.uint32), len(texts))
    task, tasks = pd.factorize(shown["task"])
    said = [
        {
            "title": TITLES[model],
            "says": each,
            "right": shown[f"{model}_right"].to_numpy(np.uint8),
            "drift": None if model == EXPERT else shown[f"{model}_drift"].to_numpy(np.float32),
        }
        for model, each in zip(columns, says, strict=True)
    ]
    return {
        "classes": classes.tolist(),
        "tasks": tasks.tolist(),
        "task": task.astype(np.uint16),
        "truth": truth,
        "models": said,
    }


def _prototypes(found: Placed, legend: Mapping[str, Any], colour: str, tasks: set[str]) -> dict[str, Any]:
    """Return where the prototypes of the tasks' classes lie, each with its place in the palette, -1 without one."""
    kept = found.classes["task"].isin(tasks).to_numpy()
    names, points = found.classes[kept], found.drawn.prototypes[kept]
    place = {item["label"]: code for code, item in enumerate(legend.get("items", ()))}
    codes = [place.get(name, -1) for name in names[colour]] if colour in ("task", "class") else [-1] * len(names)
    return {"x": points[:, 0].tolist(), "y": points[:, 1].tolist(), "code": codes, "labels": names["class"].tolist()}


def _colours(
    shown: pd.DataFrame, models: Sequence[str], colour: str, tasks: tuple[str, ...], dark: bool
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


def _drift_colours(shown: pd.DataFrame, models: Sequence[str]) -> tuple[list[str], list[Index], dict[str, Any]]:
    """Colour by drift on one scale for both panels; the experts' own drift is zero."""
    zero = np.zeros(len(shown))
    values = [zero if model == EXPERT else shown[f"{model}_drift"].to_numpy(np.float64) for model in models]
    top = float(np.quantile(np.concatenate(values), 0.99)) or 1.0
    codes = [np.clip(value / top * (_STEPS - 1), 0, _STEPS - 1).astype(np.int64) for value in values]
    palette = sample_colorscale(look.SEQUENTIAL, [step / (_STEPS - 1) for step in range(_STEPS)])
    return palette, codes, {"gradient": palette[::4], "low": "0", "high": f"{top:.2f} and more, 1 − cosine"}


def _listed(items: list[tuple[str, str]]) -> dict[str, Any]:
    """Return a legend of names with colours; `repeats` says whether some have the same."""
    colours = [colour for _, colour in items]
    rows = [{"label": label, "colour": colour} for label, colour in items]
    return {"items": rows, "repeats": len(set(colours)) < len(colours)}
