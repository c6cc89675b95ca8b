"""Weight space: interference per layer, and overlap against what was measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ri_analysis.figures import look
from ri_analysis.figures.look import AFTER, BEFORE


def layer_interference(before: pd.DataFrame, after: pd.DataFrame | None, *, dark: bool = False) -> go.Figure:
    """Singular task interference of every weight matrix, in the model's order, before and after RI."""
    figure = go.Figure()
    for role, table in ((BEFORE, before), (AFTER, after)):
        if table is not None:
            names = [short_name(name) for name in table["layer"]]
            figure.add_scatter(
                x=names,
                y=table["share"],
                mode="lines+markers",
                name=role.name,
                line={"color": role.colour, "width": 1.5},
                marker={"symbol": role.symbol, "size": 7, "color": role.colour},
                hovertext=[
                    f"<b>{row['layer']}</b>, {role.name}<br>interference {row['share']:.3f} of Σσ"
                    f"<br>mean cosine of two task vectors {row['mean_cosine']:.3f}".replace("-", "−")
                    for row in table.to_dict(orient="records")
                ],
                hovertemplate="%{hovertext}<extra></extra>",
            )
    look.finish(figure, dark=dark, height=360)
    figure.update_xaxes(type="category", tickangle=-60, nticks=40, showgrid=False)
    return figure.update_yaxes(title="‖(UᵀU−I) Σ (VᵀV−I)‖₁ / Σσ", rangemode="tozero")


def overlap_against_crosstalk(
    before: pd.DataFrame, after: pd.DataFrame | None, overlap: str, title: str, *, dark: bool = False
) -> go.Figure:
    """One point per pair of experts: how much they overlap in weight space, and how much they disturb each other."""
    figure = go.Figure()
    for role, table in ((BEFORE, before), (AFTER, after)):
        if table is not None:
            figure.add_scatter(
                x=table[overlap],
                y=table["crosstalk"],
                mode="markers",
                name=role.name.removeprefix("merged "),
                marker={"symbol": role.symbol, "size": 8, "color": role.colour, "opacity": 0.8},
                hovertext=[
                    f"<b>{row['expert']}</b> and <b>{row['other']}</b>, {role.name.removeprefix('merged ')}"
                    f"<br>{title} {row[overlap]:.3f}<br>crosstalk {row['crosstalk']:.3f} nats".replace("-", "−")
                    for row in table.to_dict(orient="records")
                ],
                hovertemplate="%{hovertext}<extra></extra>",
            )
    look.finish(figure, dark=dark, height=360)
    figure.update_xaxes(title=title)
    return figure.update_yaxes(title="crosstalk, mean of both ways (nats)", rangemode="tozero")


def short_name(layer: str) -> str:
    """Return a tensor's name as a tick label, for instance "3 attn.in_proj" in the third block."""
    parts = layer.removeprefix("visual.").removesuffix(".weight").removesuffix("_weight").split(".")
    place = next((index for index, part in enumerate(parts) if part.isdigit()), None)
    if place is None:
        return ".".join(parts)
    return f"{int(parts[place]) + 1} {'.'.join(parts[place + 1 :])}"


def plane(before: pd.DataFrame, after: pd.DataFrame | None, pair: tuple[str, str], *, dark: bool = False) -> go.Figure:
    """The weight disentanglement error over the plane of two experts, before and after RI on one scale."""
    tables = [before] if after is None else [before, after]
    titles = ["before RI", "after RI"][: len(tables)]
    figure = make_subplots(cols=len(tables), shared_yaxes=True, horizontal_spacing=0.06, subplot_titles=titles)
    for column, table in enumerate(tables, 1):
        grid = table.pivot(index="alpha_2", columns="alpha_1", values="error")
        figure.add_heatmap(
            z=grid.to_numpy(np.float64),
            x=grid.columns,
            y=grid.index,
            coloraxis="coloraxis",
            hovertemplate="α₁ = %{x}, α₂ = %{y}<br>error %{z:.2f} of 2<extra></extra>",
            row=1,
            col=column,
        )
        for x, y in ((0, 0), (1, 0), (0, 1), (1, 1)):
            figure.add_scatter(
                x=[x],
                y=[y],
                mode="markers",
                showlegend=False,
                hoverinfo="skip",
                marker={"symbol": "cross-thin", "size": 9, "line": {"width": 2, "color": "#FFFFFF"}},
                row=1,
                col=column,
            )
    look.finish(figure, dark=dark, height=420)
    bar = {"title": {"text": "error"}, "thickness": 12, "outlinewidth": 0}
    top = max(float(table["error"].max()) for table in tables) or 1.0
    figure.update_layout(
        margin_t=40, coloraxis={"colorscale": look.SEQUENTIAL, "cmin": 0, "cmax": top, "colorbar": bar}
    )
    figure.update_xaxes(title=f"α₁, coefficient of {pair[0]}", showgrid=False, scaleanchor="y", constrain="domain")
    figure.update_yaxes(showgrid=False, constrain="domain")
    figure.update_yaxes(title=f"α₂, coefficient of {pair[1]}", col=1)
    return figure.update_annotations(font_size=13)
