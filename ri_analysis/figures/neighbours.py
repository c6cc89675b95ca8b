"""Nearest neighbours of an image: how similar their features are to its own."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from ri_analysis.figures import look


def similarities(table: pd.DataFrame, titles: Mapping[str, str], *, dark: bool = False) -> go.Figure:
    """Draw each neighbour's cosine in its model's row (`model`, `task`, `index`, `class`, `same`, `cosine`)."""
    figure, models = go.Figure(), list(dict.fromkeys(table["model"]))
    for same, label, symbol, colour in ((True, "own class", "circle", look.RIGHT), (False, "another", "x", look.WRONG)):
        chosen = table[table["same"] == same]
        figure.add_scatter(
            x=chosen["cosine"],
            y=[models.index(model) for model in chosen["model"]],
            mode="markers",
            name=label,
            marker={"symbol": symbol, "size": 11, "color": colour, "opacity": 0.85},
            hovertext=[
                f"<b>{row['class']}</b> ({row['task']} {row['index']})<br>{titles[row['model']]}, number {row['rank']}"
                for row in chosen.to_dict(orient="records")
            ],
            hovertemplate="%{hovertext}<br>cosine %{x:.3f}<extra></extra>",
        )
    look.finish(figure, dark=dark, height=130 + 34 * len(models))
    names = [titles[model] for model in models]
    figure.update_yaxes(tickvals=list(range(len(models))), ticktext=names, range=[len(models) - 0.5, -0.5])
    figure.update_yaxes(zeroline=False)
    return figure.update_xaxes(title="cosine similarity to the image", zeroline=False)
