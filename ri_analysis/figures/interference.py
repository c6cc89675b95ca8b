"""Interference ξ, task by task."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from ri_analysis.figures import look, words
from ri_analysis.figures.look import AFTER, BEFORE, Role

_COLUMNS = ("interference", "interference_low", "interference_high")


def interference_by_task(before: pd.DataFrame, after: pd.DataFrame | None, *, dark: bool = False) -> go.Figure:
    """Bars of ξ_t per task before and after RI, with intervals; the arguments are evaluations' tables."""
    figure = go.Figure()
    for role, table in ((BEFORE, before), (AFTER, after)):
        if table is not None:
            figure.add_bar(
                x=table["interference"],
                y=table["task"],
                orientation="h",
                name=role.name,
                marker_color=role.colour,
                error_x=look.error_bar(table, *_COLUMNS, look.shades(dark).text),
                hovertext=_hover(table, role),
                hovertemplate="%{hovertext}<extra></extra>",
            )
    look.finish(figure, dark=dark, height=96 + 38 * len(before))
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure.update_xaxes(title="interference ξ (nats)", rangemode="tozero")


def _hover(table: pd.DataFrame, role: Role) -> list[str]:
    lines = []
    for row in table.to_dict(orient="records"):
        interval = words.nats_range(row["interference_low"], row["interference_high"])
        lines.append(
            f"<b>{row['task']}</b>, {role.name}<br>ξ = {words.nats(row['interference'])} (95% interval {interval})"
            f"<br>accuracy {words.percent(row['accuracy'])}, expert {words.percent(row['expert_accuracy'])}"
            f"<br>{words.count(row['n'], 'image')}"
        )
    return lines
