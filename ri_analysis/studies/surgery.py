"""What would correcting the merged model's features gain, if there were images of every task?"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.figures import spread, words
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.compared import compared
from ri_analysis.hyperparameters import Hyperparameter, Value
from ri_analysis.merging import METHODS
from ri_analysis.studies.adapted import RI_SEEDS, expert_sets
from ri_analysis.studies.conducting.point import Point
from ri_analysis.studies.conducting.surgery import Operated
from ri_analysis.studies.conducting.work import Work
from ri_analysis.studies.study import Rounds, Study, changed, measured, method_names, methods
from ri_analysis.studies.verdicts import NOTHING, in_points, mean_over

ALONE, WITH = "merged", "with Surgery"


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    tasks = evaluator.suite.tasks
    sets = yield from expert_sets(evaluator, settings)
    works: dict[tuple[str, str, str], list[Work]] = {}
    for name in method_names(settings):
        for stage, names in sets.items():
            points = [Point(evaluator.recipe(name, tasks=tasks).with_experts(experts)) for experts in names]
            works[name, stage, ALONE] = [*points]
            works[name, stage, WITH] = [Operated(at, int(settings["rank"]), int(settings["steps"])) for at in points]
    asked = [work for group in works.values() for work in group]
    outcomes: dict[Work, Outcomes] = dict(zip(asked, (yield asked), strict=True))
    found = {key: [outcomes[work] for work in group] for key, group in works.items()}
    rows = []
    for (name, stage, features), here in found.items():
        row = {"method": name, "title": METHODS[name].title, "stage": stage, "features": features, **measured(*here)}
        if features == WITH:
            row |= changed(found[name, stage, ALONE], here)
        elif stage == "after":
            row |= changed(found[name, "before", ALONE], here)
            row |= changed(found[name, "before", WITH], here, "lead", "interference_lead")
        rows.append(row)
    return pd.DataFrame(rows)


def _charts(table: pd.DataFrame, dark: bool) -> dict[str, Chart]:
    shown = table.assign(row=table["title"] + ", " + table["features"])
    text = (
        "Accuracy of the merged model at the default λ, without and with a correction of its features for each task, "
        "which learns from the task's validation images without labels and has to be told the task. Based on "
        f"{words.count(int(table['n'].iloc[0]), 'test image')}. {spread.caption(table)}"
    )
    return {"surgery": Chart(compared(shown, "row", x_title="mean accuracy over tasks", dark=dark), text)}


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for title, part in table.groupby("title", sort=False):
        cells: dict[str, object] = {"method": title}
        for row in part.to_dict(orient="records"):
            change = "" if row["gain"] != row["gain"] else f", {spread.cell(row, 'gain')}"
            cells[f"{row['stage']} RI, {row['features']}"] = f"{words.percent(row['accuracy'])}{change}"
        rows.append(cells)
    return pd.DataFrame(rows)


def _verdict(table: pd.DataFrame) -> str:
    operated = {str(stage): part for stage, part in table[table["features"] == WITH].groupby("stage")}
    gains = {stage: in_points(mean_over(part, "gain")) for stage, part in operated.items()}
    if "after" not in gains:
        return f"Surgery changes mean accuracy by {gains['before']} (mean over methods). {NOTHING}"
    adapted = table[(table["features"] == ALONE) & (table["stage"] == "after")]
    return (
        f"Surgery, which learns from images of every task, changes mean accuracy by {gains['before']} before RI and by "
        f"{gains['after']} after it. RI alone, without them, changes it by {in_points(mean_over(adapted, 'gain'))}; "
        f"the difference from Surgery alone is {in_points(mean_over(adapted, 'lead'))} (means over methods)."
    )


STUDY = Study(
    "surgery",
    "Representation Surgery (needs task data)",
    "How much does correcting the merged model's features gain, learned from unlabelled images of every task, and does "
    "it gain as much after RI?",
    "",
    _rounds,
    _charts,
    _summary,
    _verdict,
    (
        methods("task-arithmetic", "ties", "tsv-m", "iso-c"),
        Hyperparameter(
            "rank",
            "width of the correction's inner layer (the authors take 16)",
            16,
            1,
            100_000,
            label="rank of the correction",
        ),
        Hyperparameter(
            "steps",
            "training steps of each task's correction, on 16 images each (the authors take 1000)",
            1000,
            0,
            1_000_000,
            label="steps per task",
            unit="steps",
        ),
        RI_SEEDS,
    ),
    version="1",
)
