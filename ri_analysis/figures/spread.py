"""A measured value with the two ways in which it is uncertain: the images it is based on, and the seed.

Tables name a value's columns as `studies.study.measured` does: `x`, its 95 % interval over images `x_low` and `x_high`,
and where `seeds` is above 1 the lowest and the highest of them, `x_seed_low` and `x_seed_high`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ri_analysis.figures import look, words

Row = Mapping[Hashable, Any]
_WORDS: dict[str, tuple[Callable[[float], str], Callable[[float, float], str]]] = {
    "accuracy": (words.percent, words.percent_range),
    "gain": (words.points, words.points_range),
    "lead": (words.points, words.points_range),
    "interference": (words.nats, words.nats_range),
    "own_change": (words.points, words.points_range),
    "crosstalk": (words.nats, words.nats_range),
}


def cell(row: Row, value: str) -> str:
    """Return what a table says of a value: "+9.5 points (+8.1 to +11.3), seeds +9.0 to +9.8"."""
    one, span = _WORDS[value]
    return f"{one(row[value])} ({span(row[f'{value}_low'], row[f'{value}_high'])}){seeds(row, value)}"


def seeds(row: Row, value: str, before: str = ", seeds ") -> str:
    """Return the lowest and the highest seed of a value, after the words `before`; nothing where there is one seed."""
    low, high = f"{value}_seed_low", f"{value}_seed_high"
    return before + _WORDS[value][1](row[low], row[high]) if low in row and row["seeds"] > 1 else ""


def on_axis(table: pd.DataFrame, value: str) -> pd.DataFrame:
    """Return a table with the columns of a value as axes show it: changes of accuracy are in points."""
    names = [name for name in table if name == value or str(name).startswith(f"{value}_")]
    return table.assign(**{str(name): 100 * table[name] for name in names}) if value == "gain" else table


def hover(row: Row, value: str, runs: str = "seeds") -> str:
    """Return what a figure says of a value; `runs` is what the lowest and the highest were chosen from."""
    one, span = _WORDS[value]
    low, high = row[f"{value}_low"], row[f"{value}_high"]
    interval = "" if math.isnan(low) else f" (95% interval {span(low, high)})"
    return one(row[value]) + interval + seeds(row, value, f"<br>mean of {row.get('seeds')} {runs}: ")


def caption(table: pd.DataFrame) -> str:
    """Return the sentence of a caption that says what bars mean."""
    number = int(table["seeds"].max()) if "seeds" in table else 1
    if number < 2:
        return "Bars show 95% intervals."
    return (
        f"Results that depend on a seed are means over {number} seeds: thick bars run from the lowest to the highest "
        "seed, thin ones show 95% intervals."
    )


def add_seeds(
    figure: go.Figure, part: pd.DataFrame, value: str, colour: str, across: Any, *, vertical: bool, **place: Any
) -> None:
    """Lay a thick bar from the lowest to the highest seed below each point; none where there is one seed.

    `across` are the points' places on the other axis; `place` names a legend group or a subplot.
    """
    if f"{value}_seed_low" not in part or part["seeds"].max() < 2:
        return
    bar = look.error_bar(part, value, f"{value}_seed_low", f"{value}_seed_high", look.faint(colour, 0.4))
    at = {"x": across, "y": part[value]} if vertical else {"x": part[value], "y": across}
    figure.add_scatter(
        **at,
        **{"error_y" if vertical else "error_x": bar | {"thickness": 9, "width": 0}},
        mode="markers",
        marker={"opacity": 0, "color": colour},
        hoverinfo="skip",
        zorder=-1,
        showlegend=False,
        **place,
    )
