"""How an RI run went."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ri_analysis.figures import look

PARTS = {
    "keep": "keep: its own task's predictions",
    "free": "free: other tasks' predictions",
    "loss": "total: keep + α · free",
}


HOW_TO_READ = (
    "Keep: how far an expert's predictions for its own task have moved; free: how far it still moves the other tasks' "
    "predictions. In a good run free falls far while keep stays near 0. Both are measured on auxiliary images only."
)
WITH_HELD_OUT = (
    f"{HOW_TO_READ} Dots: the same on auxiliary images that no expert is trained on, where free is the remaining "
    "crosstalk; pale lines: on the images of each step."
)


def loss_curves(
    history: pd.DataFrame,
    tasks: Sequence[str],
    *,
    held_out: pd.DataFrame | None = None,
    unit: str = "nats",
    dark: bool = False,
) -> go.Figure:
    """The two terms of the RI objective and their sum over the steps, one line per expert.

    `history` has the columns `task`, `step`, `keep`, `free`, `loss` (in `unit`), and so has `held_out`, drawn as dots:
    the same on images that are not trained on. `tasks` are all of the suite's, so that each keeps its colour.
    """
    looks = None if held_out is None or held_out.empty else held_out
    figure = make_subplots(cols=3, subplot_titles=list(PARTS.values()), horizontal_spacing=0.07)
    colours = look.task_colours(tasks, dark=dark)
    kinds = {"training": history} if looks is None else {"training": history, "held-out": looks}
    for task in (name for name in tasks if name in set(history["task"])):
        drawn = {kind: rows for kind, table in kinds.items() if len(rows := table[table["task"] == task])}
        for (kind, rows), (column, part) in product(drawn.items(), enumerate(PARTS, 1)):
            pale = kind == "training" and looks is not None
            figure.add_scatter(
                x=rows["step"],
                y=rows[part],
                name=task,
                legendgroup=task,
                showlegend=column == 1 and kind == list(drawn)[-1],
                row=1,
                col=column,
                mode="lines+markers" if kind == "held-out" else "lines" if len(rows) > 1 else "markers",
                line={"color": look.faint(colours[task], 0.45) if pale else colours[task], "width": 1.8},
                marker={"size": 5},
                hovertext=[_hover(task, part, row, unit, kind) for row in rows.to_dict(orient="records")],
                hovertemplate="%{hovertext}<extra></extra>",
            )
    look.finish(figure, dark=dark, height=370)
    figure.update_layout(legend={"y": -0.28, "yanchor": "top"}, margin={"t": 40, "b": 110})
    figure.update_xaxes(title="step", rangemode="tozero", showgrid=False)
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(title=f"loss ({unit})", col=1)
    return figure.update_annotations(font_size=13)


def _hover(task: str, part: str, row: dict[object, float], unit: str, images: str) -> str:
    name = PARTS[part].partition(":")[0]
    return f"<b>{task}</b>, step {int(row['step'])}, {images} images<br>{name} {row[part]:.3f} {unit}"
