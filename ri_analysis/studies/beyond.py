"""Does RI leave something to gain? A second stage for all experts together, and merges distilled afterwards."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ri_analysis.encoder import Architecture
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.grids import at_scale, best_of
from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.engine.sections import VALIDATION, usual_source
from ri_analysis.figures import spread, words
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.compared import ROLES, compared
from ri_analysis.hyperparameters import Hyperparameter, Value
from ri_analysis.merging import METHODS
from ri_analysis.resolving import PRESETS
from ri_analysis.studies.conducting.adaptation import Adaptation
from ri_analysis.studies.conducting.distilled import distilled
from ri_analysis.studies.conducting.point import Point
from ri_analysis.studies.conducting.work import Work
from ri_analysis.studies.searching import search
from ri_analysis.studies.study import Rounds, Study, before_and_after, changed, measured, method_names, methods
from ri_analysis.studies.verdicts import NOTHING, above, every, in_points, mean_over

FURTHER = {"before": "distilled", "after": "both"}
"""The stage that distilling the merge of a stage leads to."""
TWO_STAGES = ("together", "quick-together")
"""The presets of RI in two stages: the suite's own settings with the second stage of the first; the second as it is."""


def two_stages(name: str, architecture: Architecture) -> tuple[tuple[str, Value], ...]:
    """Return the settings of a run in two stages that differ from the suite's."""
    settings = PRESETS[name].settings(architecture)
    return tuple(sorted(item for item in settings.items() if name != "together" or item[0].startswith("together")))


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    tasks, images, source = evaluator.suite.tasks, int(settings["images"]), usual_source(evaluator.suite)
    names, seeds = method_names(settings), range(int(settings["seeds"]))
    runs = {
        stage: [Adaptation(source, tasks, two_stages(stage, evaluator.architecture), seed) for seed in seeds]
        for stage in TWO_STAGES
    }
    made: list[str] = yield [run for group in runs.values() for run in group]
    sets = before_and_after(evaluator)
    sets |= {stage: made[place * len(seeds) :][: len(seeds)] for place, stage in enumerate(runs)}
    recipes = {
        (name, stage): evaluator.recipe(name, tasks=tasks).with_experts(found[0])
        for name in names
        for stage, found in sets.items()
    }
    tried = yield from search(recipes, int(settings["levels"]), lambda _, recipe: Point(recipe, VALIDATION, images))
    merges = {
        key: Point(at_scale(recipe, best_of(tried[key])) if tried[key] else recipe) for key, recipe in recipes.items()
    }
    length = {name: settings[name] for name in ("lr", "steps")}
    works: dict[tuple[str, str], list[Work]] = {
        (name, stage): [Point(point.recipe.with_experts(experts)) for experts in sets[stage]]
        for (name, stage), point in merges.items()
    }
    works |= {
        (name, FURTHER[stage]): [distilled(evaluator, point, length, seed) for seed in seeds]
        for (name, stage), point in merges.items()
        if stage in FURTHER
    }
    asked = [work for group in works.values() for work in group]
    outcomes: dict[Work, Outcomes] = dict(zip(asked, (yield asked), strict=True))
    found = {key: [outcomes[work] for work in group] for key, group in works.items()}
    starts = {further: stage for stage, further in FURTHER.items()}
    return pd.DataFrame(
        {
            "method": name,
            "title": METHODS[name].title,
            "stage": stage,
            "scale": merges[name, starts.get(stage, stage)].recipe.scale,
            **measured(*here),
            **changed(found[name, "before"], here),
            **(changed(found[name, "after"], here, "lead", "interference_lead") if (name, "after") in found else {}),
        }
        for (name, stage), here in sorted(found.items(), key=lambda item: _place(item[0], names))
    )


def _place(key: tuple[str, str], names: list[str]) -> tuple[int, int]:
    """Return where a row stands: by method, then in the order in which stages are drawn."""
    return names.index(key[0]), list(ROLES).index(key[1])


def _charts(table: pd.DataFrame, dark: bool) -> dict[str, Chart]:
    n = words.count(int(table["n"].iloc[0]), "test image")
    text = (
        "Each method at its best λ, chosen on validation images: the merge before and after RI, each of these "
        "distilled on the same auxiliary images, and the merge after RI with a second stage that corrects all experts "
        f"together. Further right is more accurate. Based on {n}. "
        f"{spread.caption(table)}"
    )
    return {"beyond": Chart(compared(table, "title", x_title="mean accuracy over tasks", dark=dark), text)}


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for title, part in table.groupby("title", sort=False):
        cells: dict[str, object] = {"method": title}
        for row in part.to_dict(orient="records"):
            lead = f", {spread.cell(row, 'lead')}" if row["stage"] not in FURTHER and "lead" in row else ""
            cells[ROLES[row["stage"]].name] = f"{words.percent(row['accuracy'])} (λ {row['scale']:.3g}){lead}"
        rows.append(cells)
    return pd.DataFrame(rows)


def _verdict(table: pd.DataFrame) -> str:
    if "lead" not in table:
        return NOTHING
    parts = {str(stage): part for stage, part in table.groupby("stage")}
    gained = {
        stage: every([above(mean_over(row.to_frame().T, "lead")) for _, row in part.iterrows()])
        for stage, part in parts.items()
    }
    led = {stage: in_points(mean_over(part, "lead")) for stage, part in parts.items()}
    return (
        f"Compared with RI alone, at the best λ, mean over methods: RI in two stages {led['together']}, the preset "
        f"quick-together {led['quick-together']}, RI and then distilling {led['both']}, distilling without RI "
        f"{led['distilled']}. {_gained('RI in two stages', gained['together'])} "
        f"{_gained('Distilling the merge after RI', gained['both'])}"
    )


def _gained(what: str, every_method: bool | None) -> str:
    if every_method is None:
        return f"{what}: these images do not decide whether every method gains."
    return f"{what} {'gains' if every_method else 'does not gain'} for every method."


STUDY = Study(
    "beyond",
    "Beyond RI",
    "What does correcting all experts together, or distilling the merge, gain beyond RI at each method's best λ?",
    "",
    _rounds,
    _charts,
    _summary,
    _verdict,
    (
        methods("task-arithmetic", "tsv-m", "iso-c"),
        Hyperparameter("steps", "steps of distilling the merge", 200, 1, 1_000_000, label="steps", unit="steps"),
        Hyperparameter(
            "lr", "learning rate of distilling", 5e-5, 1e-9, 1.0, step=1e-5, log=True, label="learning rate"
        ),
        Hyperparameter(
            "images",
            "validation images of each task on which λ is chosen",
            256,
            1,
            1_000_000,
            label="images to choose λ on",
            unit="images",
        ),
        Hyperparameter("levels", "values of λ to try", 11, 2, 200, label="values of λ", unit="values"),
        Hyperparameter(
            "seeds",
            "runs of distilling, and of RI in two stages, with different seeds; their spread is shown",
            1,
            1,
            100,
            unit="seeds",
        ),
    ),
    version="2",
)
