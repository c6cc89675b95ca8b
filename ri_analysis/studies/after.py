"""Is it as good to merge first and distil the merged model afterwards, on the same auxiliary images?"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ri_analysis.engine.distilled import Distilled
from ri_analysis.engine.evaluation import paired_change
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.points import Outcome, Point, Work
from ri_analysis.figures import words
from ri_analysis.figures.compared import ROLES, compared
from ri_analysis.hyperparameters import Value
from ri_analysis.merging import METHODS
from ri_analysis.studies.adapted import SHARED, gain_text, run_of, usual_source
from ri_analysis.studies.study import Chart, Rounds, Study, measured, method_names


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    names, tasks, limit = method_names(settings), evaluator.suite.tasks, int(settings["images"])
    (resolved,) = yield [run_of(evaluator, settings)]
    before = {name: Point(evaluator.recipe(name, tasks=tasks), limit=limit) for name in names}
    after = {name: Point(point.recipe.with_experts(resolved), limit=limit) for name, point in before.items()}
    # RI takes its steps for every expert, so the one merged model may take as many as all of them together.
    steps = int(settings["steps"]) * len(tasks)
    distilled = {name: Distilled(point, usual_source(evaluator), (("steps", steps),)) for name, point in before.items()}
    works: list[Work] = [*before.values(), *after.values(), *distilled.values()]
    outcomes: dict[Work, Outcome] = dict(zip(works, (yield works), strict=True))
    rows = []
    for name in names:
        for stage, work in (("before", before[name]), ("distilled", distilled[name]), ("after", after[name])):
            change = paired_change(outcomes[before[name]].correct, outcomes[work].correct)
            row = {"method": name, "title": METHODS[name].title, "stage": stage, **measured(outcomes[work])}
            row |= {"gain": change.value, "gain_low": change.interval.low, "gain_high": change.interval.high}
            lead = paired_change(outcomes[after[name]].correct, outcomes[work].correct)
            row |= {"lead": lead.value, "lead_low": lead.interval.low, "lead_high": lead.interval.high}
            rows.append(row)
    return pd.DataFrame(rows)


def _charts(table: pd.DataFrame, dark: bool) -> dict[str, Chart]:
    n = words.count(int(table["n"].iloc[0]), "test image")
    text = (
        "Accuracy at the default λ of the plain merge, of the same merge distilled afterwards, and of the merge after "
        f"RI, with equally many steps in all. Rests on {n}; bars show 95% intervals."
    )
    return {"after": Chart(compared(table, "title", x_title="mean accuracy over tasks", dark=dark), text)}


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for title, part in table.groupby("title", sort=False):
        cells: dict[str, object] = {"method": title}
        for row in part.to_dict(orient="records"):
            text = words.percent(row["accuracy"])
            cells[ROLES[row["stage"]].name] = text if row["stage"] == "before" else f"{text}, {gain_text(row)}"
        rows.append(cells)
    return pd.DataFrame(rows)


def _verdict(table: pd.DataFrame) -> str:
    mean, distilled = table.groupby("stage")["accuracy"].mean(), table[table["stage"] == "distilled"]
    worse, better = int((distilled["lead_high"] < 0).sum()), int((distilled["lead_low"] > 0).sum())
    whole = len(distilled)
    agreed = "As in the paper, RI is better." if worse > better else "The paper's finding does not show here."
    return (
        f"{words.percent(mean['after'])} after RI, {words.percent(mean['distilled'])} distilled, "
        f"{words.percent(mean['before'])} as merged (mean over methods, default λ). Beyond its 95% interval, "
        f"distilling is worse than RI for {worse} and better for {better} of {words.count(whole, 'method')}. {agreed}"
    )


STUDY = Study(
    "after",
    "Distilling after the merge",
    "Is it as good to distil the merged model afterwards as to adapt the experts before?",
    "Merging, then distilling on the same auxiliary data is worse than RI (Iso-C 75.0, TSV-M 77.1).",
    _rounds,
    _charts,
    _summary,
    _verdict,
    SHARED,
)
