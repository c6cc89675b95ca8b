"""How far may an expert be scaled on its own? The curve of a merge in which no expert disturbs another."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.figures import surfaces, words
from ri_analysis.figures.chart import Chart
from ri_analysis.hyperparameters import Value
from ri_analysis.studies import averaging, sensitivity
from ri_analysis.studies.conducting.point import Point
from ri_analysis.studies.conducting.work import Work
from ri_analysis.studies.study import Rounds, Study
from ri_analysis.studies.verdicts import NOTHING, in_points, mean_over


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    return (yield from each_alone(averaging.STUDY.rounds(evaluator, settings)))


def each_alone(rounds: Rounds) -> Rounds:
    """Measure, instead of every merge, each of its experts merged alone, on its own task; results are put together.

    The mean of one expert is that expert: plain averaging becomes θ₀ + λτ_t, and λ = 1 the expert itself.
    """
    try:
        asked = next(rounds)
        while True:
            asked = rounds.send((yield from _apart(asked)))
    except StopIteration as end:
        table: pd.DataFrame = end.value
        return table


def _apart(asked: Sequence[Work]) -> Generator[Sequence[Work], list[Any], list[Any]]:
    """Return the outcome of every point, each task's images seen by its own expert; other work is passed on."""
    parts = {
        point: [_of_one(point, task) for task in point.recipe.tasks] for point in asked if isinstance(point, Point)
    }
    # Task by task, so that a method's direction, which all λ of one task share, is computed once.
    works = [work for work in asked if work not in parts]
    works += [part for column in zip(*parts.values(), strict=True) for part in column]
    found = dict(zip(works, (yield works), strict=True))
    return [_together([found[part] for part in parts[work]]) if work in parts else found[work] for work in asked]


def _of_one(point: Point, task: str) -> Point:
    return replace(point, recipe=replace(point.recipe, tasks=(task,)))


def _together(outcomes: Sequence[Outcomes]) -> Outcomes:
    return Outcomes({task: found for each in outcomes for task, found in each.items()})


# --- what is shown ------------------------------------------------------------------------------------------


def _charts(table: pd.DataFrame, dark: bool) -> dict[str, Chart]:
    thin = " Thin lines: other seeds of RI." if table["run"].any() else ""
    text = (
        "Accuracy of each expert alone on its own task, its task vector scaled by λ; mean over tasks. A merge would "
        "reach this if experts did not interfere. Bars: the plateau, within 1 point of the best. A best λ above 1 "
        "after RI means that a larger λ recovers some of what RI cost. Each point is based on "
        f"{words.count(int(table['n'].iloc[0]), 'test image')}; bands: 95% intervals.{thin}"
    )
    figure = surfaces.curves(table, subject="experts", default="the experts themselves", dark=dark)
    return {"curve": Chart(figure, text)}


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    found = sensitivity.STUDY.summary(table)
    return found.drop(columns=["method", "as good as the best before"]).rename(columns={"default": "λ = 1"})


def _verdict(table: pd.DataFrame) -> str:
    own = table[(table["run"] == 0) & table["kind"].isin(["default", "best"])]
    best = {row["stage"]: row for row in own[own["kind"] == "best"].to_dict(orient="records")}
    if "after" not in best:
        return NOTHING
    change = {
        str(kind): in_points(mean_over(part, "gain")) for kind, part in own[own["stage"] == "after"].groupby("kind")
    }
    return (
        f"Alone, on its own task, an expert's accuracy changes by {change['default']} with RI at λ = 1, and by "
        f"{change['best']} at the respective best λ (mean over tasks). The best is {_peak(best['before'])} before RI "
        f"and {_peak(best['after'])} after, chosen on the images it is reported on."
    )


def _peak(best: Mapping[Hashable, Any]) -> str:
    return f"λ = {best['x']:.3g} (plateau {sensitivity.plateau_text(best)})"


STUDY = Study(
    "alone",
    "Each expert alone",
    "How does an expert's accuracy change with λ when it is merged alone, before and after RI?",
    "",
    _rounds,
    _charts,
    _summary,
    _verdict,
    averaging.STUDY.settings,
    version="1",
)
