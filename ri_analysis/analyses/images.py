"""Which images of a task drift, flip, and into what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from ri_analysis.analyses import drift
from ri_analysis.analyses.analysis import Analysis, Answer, Columns, Option
from ri_analysis.analyses.drift import Drift
from ri_analysis.figures import look, words
from ri_analysis.figures.chart import Chart
from ri_analysis.measures.distances import DISTANCES
from ri_analysis.measures.drift import LOST
from ri_analysis.sides import Sides

Values = npt.NDArray[np.floating]
_BINS, _PER_BIN = 40, 6  # bins at most, and images for each of them at least


def image_table(sides: Sides[Drift], distance: str, task: str) -> pd.DataFrame:
    """Return one row per image of a task: `task`, `index`, `class`, `expert_says`, and by stage what it says, its drift
    and its outcome."""
    keys, found = ["task", "index", "class", "expert_says"], []
    for stage, each in sides.stages.items():
        images = each.images(distance)
        names = {"merged_says": f"{stage}_says", "drift": f"{stage}_drift", "outcome": f"{stage}_outcome"}
        found.append(images[images["task"] == task].rename(columns=names))
    return found[0] if len(found) == 1 else found[0].merge(found[1], on=keys, validate="one_to_one")


def ranked_by(answer: Answer[Drift]) -> str:
    """Return the distance that ranks images: disagreement is yes or no for one image, so KL stands in for it."""
    distance = str(answer.options["distance"])
    return "kl" if distance == "disagreement" else distance


def _chosen(answer: Answer[Drift]) -> tuple[str, str]:
    return ranked_by(answer), str(answer.options["task"])


def _tables(answer: Answer[Drift]) -> dict[str, pd.DataFrame]:
    return {"drift-images": image_table(answer.results, *_chosen(answer))}


def _charts(answer: Answer[Drift], dark: bool) -> dict[str, Chart]:
    distance, task = _chosen(answer)
    values = answer.results.map(lambda each: each.values(distance)[task])
    return {
        "drift-images": Chart(
            drift_histogram(values, DISTANCES[distance].unit, dark=dark),
            "Near zero: images where the merged model agrees with the expert; the last bin includes everything beyond.",
            n=f"Based on {words.count(len(values.before), 'image')} of {task}.",
        )
    }


def _says(answer: Answer[Drift]) -> str:
    table, (_, task) = _tables(answer)["drift-images"], _chosen(answer)
    lost = [f"{(table[f'{stage}_outcome'] == LOST).sum():,} {stage} RI" for stage in answer.results.stages]
    return f"Images of {task} that the expert gets right and the merged model wrong: {', '.join(lost)}."


def drift_histogram(values: Sides[Values], unit: str, *, dark: bool = False) -> go.Figure:
    """Share of images by drift, before and after RI in the same bins; the last bin holds all beyond it."""
    top = float(np.quantile(np.concatenate(values.all), 0.99)) or 1.0
    edges = np.linspace(0, top, min(_BINS, max(8, len(values.before) // _PER_BIN)) + 1)
    figure = go.Figure()
    for role, each in look.roles(values):
        counts, _ = np.histogram(np.clip(each, 0, top), edges)
        of = words.count(len(each), "image")
        figure.add_scatter(
            x=np.repeat(edges, 2)[1:-1],
            y=np.repeat(counts / len(each), 2),
            mode="lines",
            name=role.name,
            line={"color": role.colour, "width": 2},
            fill="tozeroy",
            fillcolor=look.faint(role.colour),
            hovertemplate=f"%{{y:.1%}} of {of} near %{{x:.3g}} {unit}<extra></extra>",
        )
    look.finish(figure, dark=dark, height=280)
    figure.update_yaxes(title="share of images", tickformat=".0%", rangemode="tozero")
    return figure.update_xaxes(title=f"drift ({unit})", showgrid=False)


ANALYSIS = Analysis(
    name="images",
    title="Which images",
    question="Which images of a task drift most, and which are lost or gained?",
    options=(
        Option("task", "the task whose images are shown", "", task=0),
        replace(drift.DISTANCE, meaning="distance by which images are ranked", label="ranked by"),
    ),
    measure=drift.ANALYSIS.measure,
    requests=drift.ANALYSIS.requests,
    kept=drift.KEPT,
    limits=drift.ANALYSIS.limits,
    tables=_tables,
    charts=_charts,
    says=_says,
    columns={
        "drift-images": Columns(
            "an image of the chosen task",
            {
                "task": "",
                "index": "place in the task's test set",
                "class": "its class",
                "expert_says": "what the task's original expert predicts",
                "<stage>_says": "what the merged model predicts",
                "<stage>_drift": "its distance from the expert",
                "<stage>_outcome": "`kept` (right both times), `lost` (right under the expert only), `gained` (right "
                "after merging only), `moved` (wrong both times, otherwise), `wrong` (wrong both times, alike)",
            },
        )
    },
    page="",
)
