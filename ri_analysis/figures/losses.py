"""How an RI run went."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ri_analysis.figures import look

PARTS = {
    "keep": "keep: its own task's predictions",
    "free": "free: other tasks' predictions",
    "loss": "total: keep + α · free",
}


def loss_curves(history: pd.DataFrame, tasks: Sequence[str], *, unit: str = "nats", dark: bool = False) -> go.Figure:
    """The two terms of the RI objective and their sum over the steps, one line per expert.

    `history` has the columns `task`, `step`, `keep`, `free`, `loss` (in `unit`); `tasks` are all of the suite's, so
    that each keeps its colour.
    """
    figure = make_subplots(cols=3, subplot_titles=list(PARTS.values()), horizontal_spacing=0.07)
    colours = look.task_colours(tasks, dark=dark)
    for task in (name for name in tasks if name in set(history["task"])):
        rows = history[history["task"] == task]
        for column, part in enumerate(PARTS, 1):
            figure.add_scatter(
                x=rows["step"],
                y=rows[part],
                name=task,
                legendgroup=task,
                showlegend=column == 1,
                row=1,
                col=column,
                mode="lines" if len(rows) > 1 else "markers",
                line={"color": colours[task], "width": 1.8},
                hovertext=[_hover(task, part, row, unit) for row in rows.to_dict(orient="records")],
                hovertemplate="%{hovertext}<extra></extra>",
            )
    look.finish(figure, dark=dark, height=370)
    figure.update_layout(legend={"y": -0.28, "yanchor": "top"}, margin={"t": 40, "b": 110})
    figure.update_xaxes(title="step", rangemode="tozero", showgrid=False)
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(title=f"loss ({unit})", col=1)
    return figure.update_annotations(font_size=13)


def _hover(task: str, part: str, row: dict[object, float], unit: str) -> str:
    return f"<b>{task}</b>, step {int(row['step'])}<br>{PARTS[part].partition(':')[0]} {row[part]:.3f} {unit}"
