"""The means in one glance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ri_analysis.figures import look, words
from ri_analysis.figures.look import AFTER, BEFORE, EXPERT, ZERO_SHOT

ROLES = {"zero_shot": ZERO_SHOT, "before": BEFORE, "after": AFTER, "expert": EXPERT}

_MEASURES: tuple[tuple[str, Callable[[float], str]], ...] = (
    ("accuracy", words.percent),
    ("interference", words.nats),
)


def headline(table: pd.DataFrame, *, dark: bool = False) -> go.Figure:
    """Mean accuracy of each model, and mean interference of the merged ones, with intervals.

    `table` has one row per model and measure: `model` (zero_shot, before, after, expert), `measure` (accuracy,
    interference), `value`, `low`, `high`.
    """
    figure = make_subplots(cols=2, column_widths=[0.58, 0.42], horizontal_spacing=0.28)
    for column, (measure, say) in enumerate(_MEASURES, 1):
        part = table[table["measure"] == measure]
        roles = [ROLES[model] for model in part["model"]]
        figure.add_bar(
            x=part["value"],
            y=[role.name for role in roles],
            orientation="h",
            row=1,
            col=column,
            showlegend=False,
            marker_color=[role.colour for role in roles],
            error_x=look.error_bar(part, "value", "low", "high", look.shades(dark).text),
            hovertext=[_hover(row) for row in part.to_dict(orient="records")],
            hovertemplate="%{hovertext}<extra></extra>",
        )
        labels = [f"{role.name}  <b>{say(value)}</b>" for role, value in zip(roles, part["value"], strict=True)]
        figure.update_yaxes(tickvals=[role.name for role in roles], ticktext=labels, col=column)
    look.finish(figure, dark=dark, height=64 + 32 * table["model"].nunique())
    figure.update_layout(margin_t=8, bargap=0.3)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(title="mean accuracy", tickformat=".0%", range=[0, 1.02], col=1)
    return figure.update_xaxes(title="mean interference ξ (nats)", rangemode="tozero", col=2)


def _hover(row: dict[Any, Any]) -> str:
    name, value, low, high = ROLES[str(row["model"])].name, *(float(str(row[key])) for key in ("value", "low", "high"))
    if row["measure"] == "accuracy":
        return f"<b>{name}</b><br>{words.percent(value)} (95% interval {words.percent_range(low, high)})"
    return f"<b>{name}</b><br>{words.nats(value)} (95% interval {words.nats_range(low, high)})"
