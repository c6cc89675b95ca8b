"""Accuracy and interference of a merge, beside zero-shot and the experts."""

from __future__ import annotations

import pandas as pd

from ri_analysis.analyses import summary
from ri_analysis.analyses.analysis import FIRST_LOOK, Analysis, Answer, Columns, Limit, Option, Options
from ri_analysis.engine.evaluation import Evaluation
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.figures import accuracy_bars, accuracy_by_task, headline, interference_by_task, reading
from ri_analysis.figures.chart import Chart
from ri_analysis.hyperparameters import Value
from ri_analysis.measures.drift import drift_change_table
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Progress
from ri_analysis.sides import Sides

HEADLINE = "Bars are means over the tasks, each counting the same; the lines across their ends are 95% intervals."
ACCURACY_BY_TASK = (
    "The band runs from zero-shot to the expert; the points are the merged models: the nearer to the band's right end, "
    "the less the merge lost."
)
INTERFERENCE_BY_TASK = "Shorter is better: at zero the merged model predicts like the task's own expert."

_BELOW = " Below each name: the change by RI, paired image by image."


def answer_of(recipes: Sides[MergeRecipe], evaluations: Sides[Evaluation], **options: Value) -> Answer[Evaluation]:
    """Return the answer of evaluations that were measured already."""
    settled = ANALYSIS.settled(recipes.before.tasks, options)
    limit = None if evaluations.before.full else max(map(len, evaluations.before.correct.values()))
    return Answer(ANALYSIS.name, recipes, evaluations, settled, limit)


def _measure(
    evaluator: Evaluator, recipe: MergeRecipe, _: Options, limit: Limit, progress: Progress | None
) -> Evaluation:
    return evaluator.measure(recipe, limit=limit, progress=progress)


def headline_table(sides: Sides[Evaluation]) -> pd.DataFrame:
    """Return the means: the columns `model`, `measure`, `value`, `low`, `high` of `figures.headline`."""
    before = sides.before
    accuracies = [
        ("zero_shot", before.mean_zero_shot_accuracy),
        *((stage, each.mean_accuracy) for stage, each in sides.stages.items()),
        ("expert", before.mean_expert_accuracy),
    ]
    interferences = [(stage, each.mean_interference) for stage, each in sides.stages.items()]
    return pd.DataFrame(
        [
            {"model": model, "measure": measure, "value": value, "low": low, "high": high}
            for measure, found in (("accuracy", accuracies), ("interference", interferences))
            for model, (value, (low, high)) in found
        ]
    )


def changes(sides: Sides[Evaluation], measure: str) -> pd.DataFrame | None:
    """Return the paired change by RI per task of "accuracy" or "interference"; None without an RI set.

    The columns of `drift_change_table`.
    """
    if sides.after is None:
        return None
    column = {"accuracy": "correct", "interference": "divergence"}[measure]
    return drift_change_table(getattr(sides.before, column), getattr(sides.after, column), seed=sides.before.seed)


def model_table(sides: Sides[Evaluation]) -> pd.DataFrame:
    """Return one row per task with every model's accuracy and interval, absolute and normalised."""
    before = sides.before.table
    table = before[["task", "n"]].copy()
    models = [("zero_shot", before, "zero_shot_accuracy"), ("expert", before, "expert_accuracy")]
    models += [(stage, each.table, "accuracy") for stage, each in sides.stages.items()]
    for name, source, column in models:
        for end in ("", "_low", "_high"):
            table[name + end] = source[column + end]
    for stage, each in sides.stages.items():
        table[f"{stage}_normalised"] = each.table["normalised_accuracy"]
    return table


def by_task_table(answer: Answer[Evaluation]) -> pd.DataFrame:
    """Return one row per expert set and task: what was measured, and for the RI set also the paired changes."""
    table = answer.stacked(lambda evaluation: evaluation.table)
    table = table[["task", "experts", *(name for name in table if name not in ("task", "experts"))]]
    for measure in ("accuracy", "interference"):
        change = changes(answer.results, measure)
        if change is not None:
            paired = change.drop(columns="n").set_index("task").add_prefix(f"{measure}_").reset_index()
            paired = paired.assign(experts=answer.recipes.last.experts)
            table = table.merge(paired, on=["experts", "task"], how="left")
    return table


def _tables(answer: Answer[Evaluation]) -> dict[str, pd.DataFrame]:
    by_task = by_task_table(answer)
    return {
        "headline": headline_table(answer.results),
        "accuracy-by-task": by_task,
        "interference-by-task": by_task,
        "accuracy": model_table(answer.results),
    }


def chart(answer: Answer[Evaluation], name: str, dark: bool) -> Chart:
    """Return one of the charts, by the table that it draws."""
    sides = answer.results
    tables, n = sides.map(lambda evaluation: evaluation.table), based_on(sides.before)
    if name == "headline":
        return Chart(headline(headline_table(sides), dark=dark), HEADLINE, n=n)
    if name == "accuracy":
        normalised = answer.options["view"] == "normalised"
        return Chart(accuracy_bars(tables, normalised=normalised, dark=dark), _HOW[str(answer.options["view"])], n=n)
    measure, how, draw = {
        "accuracy-by-task": ("accuracy", ACCURACY_BY_TASK, accuracy_by_task),
        "interference-by-task": ("interference", INTERFERENCE_BY_TASK, interference_by_task),
    }[name]
    below = "" if sides.after is None else _BELOW
    figure = draw(tables, changes(sides, measure), dark=dark)
    return Chart(figure, how + below, f"{measure.capitalize()} per task", n, half=True)


def _charts(answer: Answer[Evaluation], dark: bool) -> dict[str, Chart]:
    return {name: chart(answer, name, dark) for name in _COLUMNS}


def based_on(evaluation: Evaluation) -> str:
    """Say on how many images a figure is based."""
    said = reading.resting_on(evaluation.n, len(evaluation.table), evaluation.full)
    return said if evaluation.number_format == "float32" else f"{said} Measured in {evaluation.number_format}."


def _says(answer: Answer[Evaluation]) -> str:
    return summary.accuracy_in_a_sentence(answer.results)


_HOW = {
    "absolute": "Absolute: each bar is the share of a task's test images that a model gets right.",
    "normalised": "Normalised: each bar is a model's accuracy divided by the expert's on the same task, so the line at "
    "100% is the expert; intervals are the model's, divided by the same accuracy.",
}
_BY_TASK = Columns(
    "an expert set and a task",
    {
        "task": "",
        "experts": "",
        "accuracy": "share of test images that the merged model gets right; Wilson interval",
        "expert_accuracy": "the same for the task's original expert",
        "zero_shot_accuracy": "the same for the pretrained model",
        "normalised_accuracy": "accuracy / the expert's",
        "interference": "mean KL(expert ‖ merged) in nats; bootstrap over images",
        "accuracy_change": "change of accuracy by RI, paired image by image; of the RI set",
        "interference_change": "the same for interference",
        "n": "",
    },
)
_COLUMNS = {
    "headline": Columns(
        "a model and a measure",
        {
            "model": "`zero_shot`, `before`, `after` or `expert`",
            "measure": "mean over tasks of `accuracy`, or of `interference` in nats",
            "value": "the mean",
            "low": "lower end of its 95% interval",
            "high": "upper end",
        },
    ),
    "accuracy-by-task": _BY_TASK,
    "interference-by-task": _BY_TASK,
    "accuracy": Columns(
        "a task",
        {
            "task": "",
            "zero_shot": "accuracy of the pretrained model",
            "expert": "of the task's original expert",
            "<stage>": "of the merged model",
            "<stage>_normalised": "that divided by the expert's",
            "n": "",
        },
    ),
}

ANALYSIS = Analysis(
    name="accuracy",
    title="Accuracy",
    question="How accurate is the merged model on each task, compared with zero-shot and the task's expert?",
    options=(
        Option(
            "view",
            "how accuracy is shown",
            "absolute",
            label="accuracy",
            choices=tuple(_HOW),
            titles=tuple(_HOW),
            notes=("the share of test images classified correctly", "that share divided by the expert's"),
        ),
    ),
    measure=_measure,
    requests=lambda evaluator, recipe, _, limit: evaluator.requests(recipe, limit),
    limits=(FIRST_LOOK, None),
    tables=_tables,
    charts=_charts,
    says=_says,
    columns=_COLUMNS,
    page="accuracy",
)
