"""An analysis of your own is one file: how sure the merged model is of what it says, task by task."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from ri_analysis.analyses import Analysis, Answer, Columns, Option
from ri_analysis.analyses.analysis import Limit, Options
from ri_analysis.engine import Evaluator
from ri_analysis.engine.measurement import Request
from ri_analysis.figures import look
from ri_analysis.figures.chart import Chart
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Progress


def measure(
    evaluator: Evaluator, recipe: MergeRecipe, _: Options, limit: Limit, progress: Progress | None
) -> pd.DataFrame:
    """Return one row per task: `task`, `confidence` (mean probability of the predicted class), `n`."""
    request = Request(evaluator.model(recipe), evaluator.sections(recipe.tasks), limit)
    (outputs,) = evaluator.measurement.outputs([request], progress)
    rows = [
        {"task": task, "confidence": found.logits.softmax(1).amax(1).double().mean().item(), "n": len(found.logits)}
        for task, found in outputs.items()
    ]
    return pd.DataFrame(rows)


def charts(answer: Answer[pd.DataFrame], dark: bool) -> dict[str, Chart]:
    """Draw one bar per task and stage."""
    figure = go.Figure()
    for role, table in look.roles(answer.results):
        figure.add_bar(x=table["task"], y=table["confidence"], name=role.name, marker_color=role.colour)
    figure.update_yaxes(title=f"confidence ({answer.options['unit']})", tickformat=".0%")
    return {"confidence": Chart(look.finish(figure, dark=dark, height=320), "Higher is surer, right or wrong.")}


def says(answer: Answer[pd.DataFrame]) -> str:
    """Say the mean over tasks."""
    means = answer.results.map(lambda table: f"{table['confidence'].mean():.1%}").stages
    return f"Mean confidence: {', '.join(f'{mean} {stage} RI' for stage, mean in means.items())}."


ANALYSIS = Analysis(
    name="confidence",
    title="How sure the merged model is",
    question="Which probability does the merged model give to the class that it predicts?",
    options=(Option("unit", "what the axis says", "probability", choices=("probability", "percent")),),
    measure=measure,
    tables=lambda answer: {"confidence": answer.stacked(lambda table: table)},
    charts=charts,
    says=says,
    columns={
        "confidence": Columns(
            "an expert set and a task",
            {"experts": "", "task": "", "confidence": "mean probability of the predicted class", "n": ""},
        )
    },
)
