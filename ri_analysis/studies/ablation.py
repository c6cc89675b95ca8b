"""What does RI's free term do? The weight α of freeing the other tasks' heads."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.figures import words
from ri_analysis.figures.compared import along
from ri_analysis.hyperparameters import Hyperparameter, Value
from ri_analysis.studies.adapted import SHARED, Variant, compare, gains, run_of
from ri_analysis.studies.study import Chart, Rounds, Study


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    tasks = evaluator.suite.tasks
    values = [float(text) for text in str(settings["alphas"]).split(",")]
    variants = [Variant({"alpha": value}, tasks, run_of(evaluator, settings, alpha=value)) for value in values]
    return (yield from compare(evaluator, settings, variants))


def _charts(table: pd.DataFrame, dark: bool) -> dict[str, Chart]:
    text = (
        "Change of mean accuracy by RI, at the default λ, for each weight α of the term that frees the other heads: at "
        f"0 RI only keeps the expert. Rests on {words.count(int(table['n'].iloc[0]), 'test image')}; bars show 95% "
        "intervals."
    )
    chart = along(table, "alpha", x_title="α", y="gain", y_title="change of mean accuracy", line="title", dark=dark)
    return {"alpha": Chart(chart, text)}


def _verdict(table: pd.DataFrame) -> str:
    mean = table.groupby("alpha")["gain"].mean()
    listed = ", ".join(f"{words.points(value)} at α = {alpha:g}" for alpha, value in mean.items())
    return f"Mean change over the methods: {listed}. Distances other than KL are not offered by this RI."


STUDY = Study(
    "ablation",
    "The weight α",
    "What does the free term of RI's objective do?",
    "α = 1. Distances, mean of TSV-M, Iso-C and Iso-CTS: none 76.4, MSE 77.7, cross-entropy 78.2, KL 79.0.",
    _rounds,
    _charts,
    lambda table: gains(table, ["alpha"]),
    _verdict,
    (Hyperparameter("alphas", "values of α, separated by commas", "0,0.25,0.5,1,2"), *SHARED),
)
