"""How many RI steps are enough? Interference on task data and accuracy along the steps."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.figures import spread, words
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.compared import along
from ri_analysis.hyperparameters import Hyperparameter, Value
from ri_analysis.studies.adapted import IMAGES, METHODS_SETTING, RATE, SEEDS, Variant, compare, gains, runs_of
from ri_analysis.studies.study import Rounds, Study
from ri_analysis.studies.verdicts import beside_the_paper


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    tasks, longest = evaluator.suite.tasks, int(settings["longest"])
    steps = sorted({max(1, longest // 2**halving) for halving in range(int(settings["halvings"]) + 1)})
    variants = [Variant({"steps": 0}, tasks)]
    # Each length is a run of its own, with its own schedule: a stopped long run is not a short one.
    variants += [Variant({"steps": count}, tasks, runs_of(evaluator, settings, steps=count)) for count in steps]
    return (yield from compare(evaluator, settings, variants))


def _charts(table: pd.DataFrame, dark: bool) -> dict[str, Chart]:
    n = f"Based on {words.count(int(table['n'].iloc[0]), 'test image')}. {spread.caption(table)}"
    x_title = "RI steps per expert"
    return {
        "interference": Chart(
            along(table, "steps", x_title=x_title, y="interference", y_title="mean interference ξ (nats)", dark=dark),
            f"Lower is better: drift of the merged model from the experts, at the default λ; 0 steps is before RI. {n}",
        ),
        "accuracy": Chart(
            along(table, "steps", x_title=x_title, dark=dark),
            f"Accuracy of the same merges, at the default λ; 0 steps is before RI. {n}",
        ),
    }


def _verdict(table: pd.DataFrame) -> str:
    mean = table.groupby("steps")["interference"].mean()
    drop, longest = mean.iloc[0] - mean, int(mean.index[-1])
    half = mean.index[(mean.index > 0) & (mean.index <= longest / 2)]
    if not len(half) or drop.iloc[-1] <= 0:
        return f"Interference does not fall over {longest} steps."
    share = float(drop[half[-1]] / drop.iloc[-1])
    text = (
        f"{words.percent(share, 0)} of the drop in interference over {longest} steps happens in the first "
        f"{int(half[-1])} (mean over methods)."
    )
    return f"{text} {beside_the_paper({'most of the drop comes in the first half of the steps': share > 0.5})}"


STUDY = Study(
    "steps",
    "Number of RI steps",
    "How do interference and accuracy change with the number of RI steps?",
    "Most of the drop in ξ comes in the first 1,000 of 2,500 steps; 10 times the steps add 1.8 points.",
    _rounds,
    _charts,
    lambda table: gains(table, ["steps"]),
    _verdict,
    (
        METHODS_SETTING,
        RATE,
        Hyperparameter(
            "longest",
            "RI steps for each expert in the longest run",
            200,
            1,
            1_000_000,
            label="steps of the longest run",
            unit="steps",
        ),
        Hyperparameter(
            "halvings", "shorter runs, each half as long as the one before", 3, 0, 20, label="shorter runs", unit="runs"
        ),
        IMAGES,
        SEEDS,
    ),
    version="1",
)
