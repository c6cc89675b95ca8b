"""Many recipes in one figure: task by task, over their settings, over expert sets, and which setting matters."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import get_colorscale, sample_colorscale

from ri_analysis.figures import look, words
from ri_analysis.figures.look import AFTER, BEFORE, EXPERT, ZERO_SHOT, Role

SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "star", "hexagon", "triangle-down")
_DOT = 13  # pixels of a recipe's place in a task's row
_AXIS = 0.5  # where a value stands on an axis on which all are the same

HOW_DOTS = (
    "The grey band runs from zero-shot to the expert; each point is one recipe on the task, with its 95% interval. "
    "Further right is better."
)
HOW_PARALLEL = (
    "Each line is one measured recipe, from its settings on the left to its mean accuracy on the right; brighter is "
    "more accurate."
)
HOW_SETS = "One row per recipe, one point per expert set, with 95% intervals: further right is more accurate."
HOW_SHARES = (
    "The longer the bar, the more of the variance in mean accuracy this setting alone explains (ε², corrected for "
    "chance)."
)


def set_roles(sets: Sequence[str], default: str | None) -> dict[str, Role]:
    """Return how each expert set looks: original as before RI, the default RI set as after it, others in colours."""
    others = [name for name in sets[1:] if name != default]
    found = {sets[0]: Role(sets[0], BEFORE.colour, BEFORE.symbol)}
    if default is not None:
        found[default] = Role(default, AFTER.colour, AFTER.symbol)
    for place, (name, colour) in enumerate(look.task_colours(others).items()):
        found[name] = Role(name, colour, SYMBOLS[2 + place % (len(SYMBOLS) - 2)])
    return found


def task_dots(table: pd.DataFrame, looks: Mapping[str, Role], *, dark: bool = False) -> go.Figure:
    """One row per task, one point per recipe: `table` has one row for each, with `accuracy_table`'s columns.

    `looks` says how each recipe (column `recipe`) looks, and what it is called; its order is that of the points.
    """
    tasks = list(dict.fromkeys(table["task"]))
    figure, places = go.Figure(), {task: row for row, task in enumerate(tasks)}
    references = table.drop_duplicates("task")
    band = {"color": look.shades(dark).band, "width": 9}
    for row in references.to_dict(orient="records"):
        low, high, place = row["zero_shot_accuracy"], row["expert_accuracy"], places[row["task"]]
        figure.add_shape(type="line", x0=low, x1=high, y0=place, y1=place, line=band, layer="below")
    for role, column in ((ZERO_SHOT, "zero_shot_accuracy"), (EXPERT, "expert_accuracy")):
        mark = {"symbol": role.symbol, "size": 14, "color": role.colour, "line": {"width": 3, "color": role.colour}}
        hover = [f"<b>{task}</b>, {role.name}: {words.percent(x)}" for task, x in references[["task", column]].values]
        y = [places[task] for task in references["task"]]
        figure.add_scatter(x=references[column], y=y, marker=mark, **_points(role.name, hover))
    reach = min(0.36, 0.12 * (len(looks) - 1))
    shifts = np.linspace(-reach, reach, len(looks))
    for shift, (recipe, role) in zip(shifts, looks.items(), strict=True):
        part = table[table["recipe"] == recipe]
        figure.add_scatter(
            x=part["accuracy"],
            y=[places[task] + shift for task in part["task"]],
            error_x=look.error_bar(part, "accuracy", "accuracy_low", "accuracy_high", role.colour),
            marker={"symbol": role.symbol, "size": 8, "color": role.colour},
            **_points(role.name, [_hover_task(row, role) for row in part.to_dict(orient="records")]),
        )
    height = max(look.row_height(len(tasks)), _DOT * (len(looks) + 1))
    look.finish(figure, dark=dark, height=104 + _legend(looks) + height * len(tasks))
    figure.update_layout(margin_t=40 + _legend(looks))
    figure.update_yaxes(tickvals=list(places.values()), ticktext=tasks, range=[len(tasks) - 0.5, -0.5])
    figure.update_yaxes(showgrid=False, zeroline=False)
    return figure.update_xaxes(title="accuracy", tickformat=".0%", range=[0, 1.02], zeroline=False)


def _legend(looks: Mapping[str, Role]) -> int:
    """Return the pixels that a legend of so many long names takes beyond one line."""
    return 20 * max(0, len(looks) - 1)


def expert_sets(table: pd.DataFrame, looks: Mapping[str, Role], *, dark: bool = False) -> go.Figure:
    """One row for each value of column `merge`, one point per expert set (column `experts`) in the look of `looks`."""
    names = list(dict.fromkeys(table["merge"]))
    shown = [name for name in looks if name in set(table["experts"])]
    shifts = dict(zip(shown, np.linspace(-0.2, 0.2, len(shown)) if len(shown) > 1 else [0.0], strict=True))
    figure = go.Figure()
    for name in shown:
        role, part = looks[name], table[table["experts"] == name]
        figure.add_scatter(
            x=part["accuracy"],
            y=[names.index(merge) + shifts[name] for merge in part["merge"]],
            error_x=look.error_bar(part, "accuracy", "accuracy_low", "accuracy_high", role.colour),
            marker={"symbol": role.symbol, "size": 9, "color": role.colour},
            **_points(role.name, [_hover(row, str(row["merge"]), role.name) for row in _records(part)]),
        )
    look.finish(figure, dark=dark, height=104 + max(26, _DOT * (len(shown) + 1)) * len(names))
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.5, -0.5])
    figure.update_yaxes(showgrid=False, zeroline=False)
    return figure.update_xaxes(title="mean accuracy over tasks", tickformat=".0%", zeroline=False)


def parallel(
    table: pd.DataFrame, axes: Mapping[str, str], logs: Sequence[str] = (), *, dark: bool = False
) -> go.Figure:
    """Parallel coordinates: a line for each row over the columns `axes` (with their titles), the last its accuracy.

    Each axis has its own scale, logarithmic for those of `logs`; texts stand in the order in which they occur.
    """
    figure, shade = go.Figure(), look.shades(dark)
    columns = {**axes, "accuracy": "mean accuracy"}
    scaled = {name: _scaled(table[name], name in logs) for name in columns}
    accuracy = scaled["accuracy"][0]
    darkest = 0.35 if dark else 0.0  # of the scale: its dark end would not stand out
    for place in np.argsort(accuracy, kind="stable"):  # the best on top
        row = table.iloc[int(place)].to_dict()
        share = darkest + (1 - darkest) * float(accuracy[place])
        (colour,) = sample_colorscale(get_colorscale(look.SEQUENTIAL), [share])
        figure.add_scatter(
            x=list(range(len(columns))),
            y=[scaled[name][0][place] for name in columns],
            mode="lines+markers",
            line={"color": colour, "width": 1.8},
            marker={"size": 5},
            showlegend=False,
            hovertext=_hover(row, str(row["name"])),
            hovertemplate="%{hovertext}<extra></extra>",
        )
    for x, name in enumerate(columns):
        figure.add_shape(type="line", x0=x, x1=x, y0=0, y1=1, line={"color": shade.muted, "width": 1}, layer="below")
        for y, text in scaled[name][1]:
            figure.add_annotation(
                x=x,
                y=y,
                text=text,
                showarrow=False,
                xanchor="left",
                xshift=6,
                bgcolor=shade.background,
                font={"size": 12, "color": shade.muted},
            )
    look.finish(figure, dark=dark, height=400)
    figure.update_layout(margin={"l": 60, "r": 80})
    figure.update_xaxes(tickvals=list(range(len(columns))), ticktext=list(columns.values()), side="top")
    figure.update_xaxes(showgrid=False, zeroline=False, range=[-0.1, len(columns) - 1 + 0.25])
    return figure.update_yaxes(visible=False, range=[-0.06, 1.06])


def _scaled(values: pd.Series[Any], log: bool) -> tuple[np.ndarray[Any, np.dtype[np.float64]], list[tuple[float, str]]]:
    """Return where values stand on an axis from 0 to 1, and its labels with their places."""
    if not pd.api.types.is_numeric_dtype(values):
        order = list(dict.fromkeys(values))
        places = np.array([order.index(value) for value in values], float) / max(1, len(order) - 1)
        places = places if len(order) > 1 else np.full(len(values), _AXIS)
        return places, [(places[list(values).index(value)], str(value)) for value in order]
    numbers = np.log(values.to_numpy(float)) if log and (values > 0).all() else values.to_numpy(float)
    low, high = float(numbers.min()), float(numbers.max())
    places = (numbers - low) / (high - low) if high > low else np.full(len(numbers), _AXIS)
    form = words.percent if values.name == "accuracy" else words.signed
    ends = sorted({float(values.min()), float(values.max())})
    return places, [(float(places[int((values == end).to_numpy().argmax())]), form(end)) for end in ends]


def shares(table: pd.DataFrame, titles: Mapping[str, str], *, dark: bool = False) -> go.Figure:
    """Bars of `engine.variance.explained`'s shares, the longest on top; those that are not known are left out."""
    part = table.dropna(subset="share")
    names = [titles.get(setting, setting) for setting in part["setting"]]
    figure = go.Figure()
    figure.add_bar(
        x=part["share"],
        y=names,
        orientation="h",
        marker_color=look.shades(dark).muted,
        text=[words.percent(share, 0) for share in part["share"]],
        textposition="outside",
        cliponaxis=False,
        hovertext=[
            f"<b>{name}</b><br>{words.percent(row['share'])} of the variance<br>{row['levels']} values, "
            f"{words.count(row['n'], 'recipe')}"
            for name, row in zip(names, _records(part), strict=True)
        ],
        hovertemplate="%{hovertext}<extra></extra>",
    )
    look.finish(figure, dark=dark, height=110 + look.row_height(len(names)) * len(names))
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure.update_xaxes(title="share of the variance of mean accuracy", tickformat=".0%", range=[0, 1.08])


def _points(name: str, hover: list[str]) -> dict[str, Any]:
    return {"name": name, "mode": "markers", "hovertext": hover, "hovertemplate": "%{hovertext}<extra></extra>"}


def _records(table: pd.DataFrame) -> list[dict[Hashable, Any]]:
    return table.to_dict(orient="records")


def _hover(row: Mapping[Hashable, Any], title: str, below: str = "") -> str:
    interval = words.percent_range(row["accuracy_low"], row["accuracy_high"])
    said = f"<br>{below}: " if below else "<br>"
    return (
        f"<b>{title}</b>{said}{words.percent(row['accuracy'])} (95% interval {interval})<br>"
        f"{words.count(int(row['n']), 'image')}"
    )


def _hover_task(row: Mapping[Hashable, Any], role: Role) -> str:
    return (
        f"{_hover(row, role.name, str(row['task']))}<br>{words.percent(row['normalised_accuracy'], 0)} of the expert's "
        f"{words.percent(row['expert_accuracy'])}; interference {words.nats(row['interference'])}"
    )
