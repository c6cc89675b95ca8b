"""What is tuning worth? λ at its default, tuned on labelled images, and tuned by interference on auxiliary images."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import pandas as pd

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.points import AUXILIARY, VALIDATION, Outcome, Point, Work
from ri_analysis.figures import spread, words
from ri_analysis.figures.compared import compared
from ri_analysis.hyperparameters import Hyperparameter, Value
from ri_analysis.merging import METHODS, MergeRecipe, find_method
from ri_analysis.studies.adapted import RI_SEEDS, expert_sets, usual_source
from ri_analysis.studies.grids import OUTWARD, at_scale, best_of, beyond, scales
from ri_analysis.studies.study import (
    Chart,
    Rounds,
    Study,
    beside_the_paper,
    measured,
    method_names,
)

WAYS = {
    "default": "default",
    "labelled": "accuracy on labelled validation images",
    "interference": "interference on auxiliary images",
}
SCORES: dict[str, Callable[[Outcome], float]] = {
    "labelled": lambda outcome: outcome.accuracy,
    "interference": lambda outcome: -outcome.interference,
}


_Case = tuple[str, str, str]  # method, stage, way to choose λ


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    images, levels = int(settings["images"]), int(settings["levels"])
    source = str(settings["auxiliary"]) or usual_source(evaluator)
    sets = yield from expert_sets(evaluator, settings)
    default = {
        (name, stage): evaluator.recipe(name, experts=names[0], tasks=evaluator.suite.tasks)
        for name in method_names(settings)
        for stage, names in sets.items()
    }
    on = {"labelled": VALIDATION, "interference": AUXILIARY + source}
    tried = yield from _try_scales(
        {(*key, way): recipe for key, recipe in default.items() for way in on}, on, levels, images
    )
    chosen: dict[_Case, MergeRecipe] = {(*key, "default"): recipe for key, recipe in default.items()}
    chosen |= {case: at_scale(default[case[:2]], best_of(scores)) for case, scores in tried.items()}
    tests = {
        case: [Point(recipe.with_experts(experts)) for experts in sets[case[1]]] for case, recipe in chosen.items()
    }
    points = [point for group in tests.values() for point in group]
    outcomes: dict[Point, Outcome] = dict(zip(points, (yield points), strict=True))
    return pd.DataFrame(
        {
            "method": name,
            "title": METHODS[name].title,
            "stage": stage,
            "tuned": way,
            "auxiliary": source if way == "interference" else None,
            "scale": recipe.scale,
            **measured(*(outcomes[point] for point in tests[name, stage, way])),
        }
        for (name, stage, way), recipe in chosen.items()
    )


def _try_scales(
    recipes: Mapping[_Case, MergeRecipe], on: Mapping[str, str], levels: int, images: int
) -> Generator[Sequence[Work], list[Any], dict[_Case, dict[float, float]]]:
    """Return the score of every λ tried, by each way to tune: an even grid, extended where it ends at its best."""
    tried: dict[_Case, dict[float, float]] = {case: {} for case in recipes}
    asked = {case: scales(find_method(case[0]), levels) for case in recipes}
    for _ in range(OUTWARD + 1):
        points = {
            (case, value): Point(at_scale(recipes[case], value), on[case[2]], images)
            for case, values in asked.items()
            for value in values
        }
        for (case, value), outcome in zip(points, (yield list(points.values())), strict=True):
            tried[case][value] = SCORES[case[2]](outcome)
        asked = {case: beyond(scores) for case, scores in tried.items()}
        if not any(asked.values()):
            break
    return tried


def _charts(table: pd.DataFrame, dark: bool) -> dict[str, Chart]:
    shown = table.assign(row=table["title"] + ": " + table["tuned"].map(WAYS))
    text = (
        "Each row is a way to choose λ; a small distance between a method's rows means that little is lost without "
        f"tuning. Rests on {words.count(int(table['n'].iloc[0]), 'test image')}, none of which was used to choose. "
        f"{spread.caption(table)}"
    )
    return {"tuning": Chart(compared(shown, "row", x_title="mean accuracy over tasks", dark=dark), text)}


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (title, stage), part in table.groupby(["title", "stage"], sort=False):
        cells: dict[str, object] = {"method": title, "RI": stage}
        for row in part.to_dict(orient="records"):
            cells[WAYS[row["tuned"]]] = (
                f"{words.percent(row['accuracy'])} (λ {row['scale']:.3g}){spread.seeds(row, 'accuracy')}"
            )
        rows.append(cells)
    return pd.DataFrame(rows)


def _verdict(table: pd.DataFrame) -> str:
    means = table.groupby(["stage", "tuned"], sort=False)["accuracy"].mean().unstack("tuned")
    sentences = []
    for stage, row in means.iterrows():
        sentences.append(
            f"{str(stage).capitalize()} RI, tuning on labelled images is worth "
            f"{words.points(row['labelled'] - row['default'])} over the default on average, choosing by interference "
            f"on auxiliary images {words.points(row['interference'] - row['default'])}."
        )
    claims = {}
    worth = means["labelled"] - means["default"]
    if "after" in worth.index:
        claims["tuning is worth less after RI"] = bool(worth["after"] < worth["before"])
    for stage, row in means.iterrows():
        claim = f"choosing λ by interference on auxiliary images is worse than the default, {stage} RI"
        claims[claim] = bool(row["interference"] < row["default"])
    return " ".join([*sentences, beside_the_paper(claims)])


STUDY = Study(
    "tuning",
    "What tuning is worth",
    "How much is tuning λ worth, on labelled images and by interference on auxiliary images alone?",
    "Gap between default and tuned, mean of 6 methods: 1.8 points without RI, 0.4 with. Choosing λ by ξ on auxiliary "
    "data fails: worse than the defaults, with and without RI.",
    _rounds,
    _charts,
    _summary,
    _verdict,
    (
        Hyperparameter("methods", "methods, separated by commas", "task-arithmetic,ties,dare,tsv-m,iso-c,iso-cts"),
        Hyperparameter("auxiliary", "auxiliary source, by default that of the RI set", ""),
        Hyperparameter(
            "images", "images a task (validation) and of the source on which λ is chosen", 256, 1, 1_000_000
        ),
        Hyperparameter("levels", "values of λ", 11, 2, 200),
        RI_SEEDS,
    ),
)
