"""Is it as good to merge first and distil the merged model afterwards, on the same auxiliary images?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.figures import spread, words
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.compared import ROLES, compared
from ri_analysis.hyperparameters import Value
from ri_analysis.merging import METHODS
from ri_analysis.studies.adapted import SHARED, length, points_before, runs_of
from ri_analysis.studies.conducting.distilled import distilled
from ri_analysis.studies.conducting.work import Work
from ri_analysis.studies.study import Rounds, Study, changed, measured, method_names
from ri_analysis.studies.verdicts import below, beside_the_paper, mean_over


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    tasks, runs = evaluator.suite.tasks, runs_of(evaluator, settings)
    sets: list[str] = yield runs
    # RI takes its steps for every expert, so the one merged model may take as many as all of them together.
    steps = length(settings, len(tasks))
    works: dict[tuple[str, str], Sequence[Work]] = {}
    for name in method_names(settings):
        before = points_before(evaluator, settings, name, tasks)
        starts = [before[seed % len(before)] for seed in range(len(runs))]
        works[name, "before"] = before
        works[name, "distilled"] = [
            distilled(evaluator, at, steps, run.seed) for at, run in zip(starts, runs, strict=True)
        ]
        works[name, "after"] = [
            replace(at, recipe=at.recipe.with_experts(found)) for at, found in zip(starts, sets, strict=True)
        ]
    asked = [work for group in works.values() for work in group]
    outcomes: dict[Work, Outcomes] = dict(zip(asked, (yield asked), strict=True))
    found = {key: [outcomes[work] for work in group] for key, group in works.items()}
    return pd.DataFrame(
        {
            "method": name,
            "title": METHODS[name].title,
            "stage": stage,
            **measured(*here),
            **changed(found[name, "before"], here),
            **changed(found[name, "after"], here, "lead", "interference_lead"),
        }
        for (name, stage), here in found.items()
    )


def _charts(table: pd.DataFrame, dark: bool) -> dict[str, Chart]:
    n = words.count(int(table["n"].iloc[0]), "test image")
    text = (
        "Accuracy at the default λ of the merge before RI, of the same merge distilled afterwards, and of the merge "
        f"after RI; distilling takes as many steps as RI in total. Based on {n}. {spread.caption(table)}"
    )
    return {"after": Chart(compared(table, "title", x_title="mean accuracy over tasks", dark=dark), text)}


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for title, part in table.groupby("title", sort=False):
        cells: dict[str, object] = {"method": title}
        for row in part.to_dict(orient="records"):
            change = "" if row["stage"] == "before" else f", {spread.cell(row, 'gain')}"
            cells[ROLES[row["stage"]].name] = f"{words.percent(row['accuracy'])}{change}"
        rows.append(cells)
    return pd.DataFrame(rows)


def _verdict(table: pd.DataFrame) -> str:
    mean, distilled = table.groupby("stage")["accuracy"].mean(), table[table["stage"] == "distilled"]
    worse, better = int((distilled["lead_high"] < 0).sum()), int((distilled["lead_low"] > 0).sum())
    whole = len(distilled)
    agreed = beside_the_paper({"distilling afterwards is worse than RI": below(mean_over(distilled, "lead"))})
    return (
        f"Mean accuracy over methods at the default λ: {words.percent(mean['before'])} before RI, "
        f"{words.percent(mean['after'])} after RI, {words.percent(mean['distilled'])} merged, then distilled. "
        f"Distilling is worse than RI for {worse} and better for {better} of {words.count(whole, 'method')}, counting "
        f"differences whose 95% interval excludes 0. {agreed}"
    )


STUDY = Study(
    "after",
    "Distilling after the merge",
    "Is distilling the merged model as good as adapting the experts before the merge?",
    "Merging, then distilling on the same auxiliary data is worse than RI (Iso-C 75.0%, TSV-M 77.1%).",
    _rounds,
    _charts,
    _summary,
    _verdict,
    SHARED,
    version="1",
)
