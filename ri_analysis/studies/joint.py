"""Does the merge still tell tasks apart? One classifier over all tasks' labels together."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ri_analysis.engine.evaluation import paired_differences
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.engine.sections import JOINT, TEST
from ri_analysis.figures import spread, words
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.compared import compared
from ri_analysis.hyperparameters import Value
from ri_analysis.merging import METHODS
from ri_analysis.studies.adapted import RI_SEEDS, expert_sets
from ri_analysis.studies.conducting.point import Point
from ri_analysis.studies.study import Rounds, Study, method_names, methods, over_seeds
from ri_analysis.studies.verdicts import NOTHING, in_points, mean_over

PLACES = {TEST: "task known", JOINT: "all labels together"}


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    tasks = evaluator.suite.tasks
    sets = yield from expert_sets(evaluator, settings)
    recipes = {
        (name, stage): [evaluator.recipe(name, tasks=tasks).with_experts(experts) for experts in names]
        for name in method_names(settings)
        for stage, names in sets.items()
    }
    recipes["pretrained", "zero-shot"] = [evaluator.recipe("task-arithmetic", {"scale": 0.0}, tasks=tasks)]
    points = [Point(recipe, on) for merges in recipes.values() for on in PLACES for recipe in merges]
    outcomes: dict[Point, Outcomes] = dict(zip(points, (yield points), strict=True))
    rows = []
    for (name, stage), merges in recipes.items():
        for on in PLACES:
            found = [outcomes[Point(recipe, on)] for recipe in merges]
            row: dict[str, object] = {
                "method": name,
                "title": METHODS[name].title if name in METHODS else "Pretrained model",
                "stage": stage,
                "labels": PLACES[on],
                **over_seeds("accuracy", [outcome.correct for outcome in found]),
                "seeds": len(found),
                "n": found[0].n,
            }
            if stage == "after":
                [before] = (outcomes[Point(recipe, on)].correct for recipe in recipes[name, "before"])
                row |= over_seeds("gain", [paired_differences(before, outcome.correct) for outcome in found])
            rows.append(row)
    return pd.DataFrame(rows)


def _charts(table: pd.DataFrame, dark: bool) -> dict[str, Chart]:
    shown = table.assign(row=table["title"] + ", " + table["labels"])
    text = (
        "The model chooses among the labels of one task (task known) or of all tasks together; the gap between a "
        "method's two rows is the cost of confusing tasks. Based on "
        f"{words.count(int(table['n'].iloc[0]), 'test image')}. {spread.caption(table)}"
    )
    return {"joint": Chart(compared(shown, "row", x_title="mean accuracy over tasks", dark=dark), text)}


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (title, labels), part in table.groupby(["title", "labels"], sort=False):
        row = {"method": title, "labels": labels}
        row |= {found["stage"]: words.percent(found["accuracy"]) for found in part.to_dict(orient="records")}
        changes = part[part["stage"] == "after"].to_dict(orient="records")
        if changes:
            row["change"] = spread.cell(changes[0], "gain")
        rows.append(row)
    return pd.DataFrame(rows).fillna("—")


def _verdict(table: pd.DataFrame) -> str:
    if "gain" not in table:
        return NOTHING
    after = table[table["stage"] == "after"].groupby("labels")
    gains = {str(labels): in_points(mean_over(part, "gain")) for labels, part in after}
    return (
        f"With all labels together, RI changes mean accuracy by {gains[PLACES[JOINT]]}; with the task known, by "
        f"{gains[PLACES[TEST]]} (mean over methods)."
    )


STUDY = Study(
    "joint",
    "One classifier over all tasks",
    "Can the merged model still tell the tasks apart when one classifier covers all their labels?",
    "",
    _rounds,
    _charts,
    _summary,
    _verdict,
    (methods("task-arithmetic", "ties", "tsv-m", "iso-c"), RI_SEEDS),
    version="1",
)
