"""What do the parts of RI's objective do? The weight α of freeing the other heads, and the distance of outputs."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.figures import spread, words
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.compared import along, compared
from ri_analysis.hyperparameters import Hyperparameter, Value, listed
from ri_analysis.resolving import DISTANCES, HYPERPARAMETERS, default_settings
from ri_analysis.studies.adapted import SHARED, Variant, compare, gains, runs_of
from ri_analysis.studies.study import Rounds, Study
from ri_analysis.studies.verdicts import below, beside_the_paper, in_points, mean_over

_NAMES = {"none": "no RI"} | next(item for item in HYPERPARAMETERS if item.name == "distance").titled


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    tasks = evaluator.suite.tasks
    weights = [float(text) for text in listed(settings["alphas"])]
    runs = [(float(default_settings(evaluator.suite)["alpha"]), name) for name in DISTANCES]
    runs += [(value, "kl") for value in weights]
    variants = [Variant({"distance": "none", "alpha": float("nan")}, tasks)]
    variants += [
        Variant({"distance": name, "alpha": value}, tasks, runs_of(evaluator, settings, alpha=value, distance=name))
        for value, name in dict.fromkeys(runs)
    ]
    [kl] = [item for item in variants if item.columns == {"distance": "kl", "alpha": runs[0][0]}]
    return (yield from compare(evaluator, settings, variants, rival=kl))


def _charts(table: pd.DataFrame, dark: bool) -> dict[str, Chart]:
    n = f"Based on {words.count(int(table['n'].iloc[0]), 'test image')}. {spread.caption(table)}"
    weights = along(
        table[table["distance"] == "kl"].sort_values("alpha"),
        "alpha",
        x_title="free weight α",
        y="gain",
        y_title="change in mean accuracy (points)",
        dark=dark,
    )
    distances = compared(_by_distance(table), "label", x_title="mean accuracy over tasks", dark=dark)
    return {
        "alpha": Chart(
            weights,
            "Change in mean accuracy by RI at the default λ, for each weight α of the free term; at 0 RI only keeps "
            f"the expert's own predictions. {n}",
        ),
        "distance": Chart(distances, f"Accuracy at the default λ, for each distance that RI minimises. {n}"),
    }


def _by_distance(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that differ in the distance alone, with a label each."""
    others = table[~table["distance"].isin(["none", "kl"])]
    alpha = others["alpha"].iloc[0]
    rows: pd.DataFrame = table[(table["distance"] == "none") | (table["alpha"] == alpha)]
    return rows.assign(label=rows["title"] + ", " + rows["distance"].map(_NAMES))


def _verdict(table: pd.DataFrame) -> str:
    by_alpha = table[table["distance"] == "kl"].groupby("alpha")
    weights = ", ".join(f"{in_points(mean_over(part, 'gain'))} at α = {alpha:g}" for alpha, part in by_alpha)
    by_distance = _by_distance(table)
    accuracy = by_distance.groupby("distance", sort=False)["accuracy"].mean()
    distances = ", ".join(f"{_NAMES[str(name)]} {words.percent(value)}" for name, value in accuracy.items())
    others = by_distance[~by_distance["distance"].isin(["none", "kl"])].groupby("distance", sort=False)
    leads = {str(name): mean_over(part, "lead") for name, part in others}
    beside = ", ".join(f"{_NAMES[name]} {in_points(lead)}" for name, lead in leads.items())
    claims = {f"KL divergence is better than {_NAMES[name]}": below(lead) for name, lead in leads.items()}
    return (
        f"Mean accuracy over methods by distance: {distances}. Difference from KL divergence, on the same images: "
        f"{beside}. Mean change by α, with KL divergence: {weights}. {beside_the_paper(claims)}"
    )


STUDY = Study(
    "ablation",
    "Parts of RI's objective",
    "What do the weight α of RI's free term and the distance between outputs contribute?",
    "α = 1. By distance, mean of TSV-M, Iso-C and Iso-CTS: no RI 76.4%, mean squared error 77.7%, cross-entropy 78.2%, "
    "KL divergence 79.0%.",
    _rounds,
    _charts,
    lambda table: gains(table, ["distance", "alpha"]),
    _verdict,
    (
        Hyperparameter(
            "alphas",
            "weights α of the free term to try beside the default",
            "0,0.5,2",
            each=Hyperparameter("alpha", "weight of the free term", 1.0, 0.0, 100.0),
            label="free weights α",
        ),
        *SHARED,
    ),
    version="1",
)
