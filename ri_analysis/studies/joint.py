"""Does the merge still tell tasks apart? One classifier over all tasks' labels together."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ri_analysis.engine.evaluation import paired_change
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.points import JOINT, TEST, Outcome, Point
from ri_analysis.figures import words
from ri_analysis.figures.compared import compared
from ri_analysis.hyperparameters import Hyperparameter, Value
from ri_analysis.merging import METHODS
from ri_analysis.statistics import bootstrap_mean
from ri_analysis.studies.study import Chart, Rounds, Study, before_and_after, method_names

PLACES = {TEST: "task known", JOINT: "all labels together"}


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    tasks, stages = evaluator.suite.tasks, before_and_after(evaluator)
    recipes = {
        (name, stage): evaluator.recipe(name, experts=experts, tasks=tasks)
        for name in method_names(settings)
        for stage, experts in stages.items()
    }
    recipes["pretrained", "zero-shot"] = evaluator.recipe("task-arithmetic", {"scale": 0.0}, tasks=tasks)
    points = {(*key, on): Point(recipe, on) for key, recipe in recipes.items() for on in PLACES}
    outcomes: dict[tuple[str, str, str], Outcome] = dict(zip(points, (yield list(points.values())), strict=True))
    rows = []
    for (name, stage, on), outcome in outcomes.items():
        low, high = bootstrap_mean([part.astype(float) for part in outcome.correct.values()])
        row: dict[str, object] = {
            "method": name,
            "title": METHODS[name].title if name in METHODS else "Pretrained model",
            "stage": stage,
            "labels": PLACES[on],
            "accuracy": outcome.accuracy,
            "accuracy_low": low,
            "accuracy_high": high,
            "n": outcome.n,
        }
        if stage == "after":
            gain = paired_change(outcomes[name, "before", on].correct, outcome.correct)
            row |= {"gain": gain.value, "gain_low": gain.interval.low, "gain_high": gain.interval.high}
        rows.append(row)
    return pd.DataFrame(rows)


def _charts(table: pd.DataFrame, dark: bool) -> dict[str, Chart]:
    shown = table.assign(row=table["title"] + ", " + table["labels"])
    text = (
        "The prediction is the best label of the task, where the task is known, or of all tasks together: the distance "
        "between the two rows is what confusion between tasks costs. Rests on "
        f"{words.count(int(table['n'].iloc[0]), 'test image')}; bars show 95% intervals."
    )
    return {"joint": Chart(compared(shown, "row", x_title="mean accuracy over tasks", dark=dark), text)}


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (title, labels), part in table.groupby(["title", "labels"], sort=False):
        row = {"method": title, "labels": labels}
        row |= {found["stage"]: words.percent(found["accuracy"]) for found in part.to_dict(orient="records")}
        changes = part[part["stage"] == "after"].to_dict(orient="records")
        if changes:
            found = changes[0]
            interval = words.points_range(found["gain_low"], found["gain_high"])
            row["change"] = f"{words.points(found['gain'])} ({interval})"
        rows.append(row)
    return pd.DataFrame(rows).fillna("—")


def _verdict(table: pd.DataFrame) -> str:
    if "gain" not in table:
        return "There is no RI-adapted expert set, so nothing to compare with."
    gains = table[table["stage"] == "after"].groupby("labels")["gain"].mean()
    return (
        f"Over all labels together RI changes mean accuracy by {words.points(gains[PLACES[JOINT]])} on average over "
        f"the methods, with the task known by {words.points(gains[PLACES[TEST]])}."
    )


STUDY = Study(
    "joint",
    "One classifier over all tasks",
    "Does the merged model still tell the tasks apart when one classifier covers all their labels?",
    "Not reported there: this study is ours.",
    _rounds,
    _charts,
    _summary,
    _verdict,
    (Hyperparameter("methods", "methods, separated by commas", "task-arithmetic,ties,tsv-m,iso-c"),),
)
