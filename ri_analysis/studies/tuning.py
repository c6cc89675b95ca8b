"""What is tuning worth? λ at its default, tuned on labelled images, and tuned by interference on auxiliary images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis.engine.evaluation import paired_differences
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.grids import at_scale, best_of
from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.engine.sections import AUXILIARY, VALIDATION, usual_source
from ri_analysis.figures import spread, words
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.compared import compared
from ri_analysis.hyperparameters import Hyperparameter, Value
from ri_analysis.merging import METHODS, MergeRecipe
from ri_analysis.studies.adapted import RI_SEEDS, expert_sets
from ri_analysis.studies.conducting.point import Point
from ri_analysis.studies.searching import search
from ri_analysis.studies.study import Rounds, Setting, Study, measured, method_names, methods, over_seeds
from ri_analysis.studies.verdicts import below, beside_the_paper, in_points, mean_over

WAYS = {
    "default": "default",
    "labelled": "accuracy on labelled validation images",
    "interference": "interference on auxiliary images",
}
SCORES: dict[str, Callable[[Outcomes], float]] = {
    "labelled": lambda outcome: outcome.accuracy,
    "interference": lambda outcome: -outcome.interference,
}


Floats = npt.NDArray[np.float64]
_Case = tuple[str, str, str]  # method, stage, way to choose λ


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    images, levels = int(settings["images"]), int(settings["levels"])
    source = str(settings["auxiliary"]) or usual_source(evaluator.suite)
    sets = yield from expert_sets(evaluator, settings)
    default = {
        (name, stage): evaluator.recipe(name, experts=names[0], tasks=evaluator.suite.tasks)
        for name in method_names(settings)
        for stage, names in sets.items()
    }
    on = {"labelled": VALIDATION, "interference": AUXILIARY + source}
    tried = yield from search(
        {(*key, way): recipe for key, recipe in default.items() for way in on},
        levels,
        lambda case, recipe: Point(recipe, on[case[2]], images),
        lambda case, outcomes: SCORES[case[2]](outcomes),
    )
    chosen: dict[_Case, MergeRecipe] = {(*key, "default"): recipe for key, recipe in default.items()}
    chosen |= {case: at_scale(default[case[:2]], best_of(scores)) for case, scores in tried.items()}
    tests = {
        case: [Point(recipe.with_experts(experts)) for experts in sets[case[1]]] for case, recipe in chosen.items()
    }
    points = [point for group in tests.values() for point in group]
    outcomes: dict[Point, Outcomes] = dict(zip(points, (yield points), strict=True))
    found = {case: [outcomes[point] for point in group] for case, group in tests.items()}
    return pd.DataFrame(
        {
            "method": name,
            "title": METHODS[name].title,
            "stage": stage,
            "tuned": way,
            "auxiliary": source if way == "interference" else None,
            "scale": recipe.scale,
            **measured(*found[name, stage, way]),
            **over_seeds("worth", _worth(found, name, stage, way)),
            **(_worth_change(found, name, way) if stage == "after" else {}),
        }
        for (name, stage, way), recipe in chosen.items()
    )


def _worth(found: Mapping[_Case, Sequence[Outcomes]], name: str, stage: str, way: str) -> list[dict[str, Floats]]:
    """Return what choosing λ this way adds to each image's accuracy at the default, by seed."""
    pairs = zip(found[name, stage, "default"], found[name, stage, way], strict=True)
    return [paired_differences(default.correct, tuned.correct) for default, tuned in pairs]


def _worth_change(found: Mapping[_Case, Sequence[Outcomes]], name: str, way: str) -> dict[str, float]:
    [before] = _worth(found, name, "before", way)
    changes = [paired_differences(before, after) for after in _worth(found, name, "after", way)]
    return over_seeds("worth_change", changes)


def _charts(table: pd.DataFrame, dark: bool) -> dict[str, Chart]:
    together = pd.concat([part for _, part in table.groupby("method", sort=False)])
    shown = together.assign(row=together["title"] + ": " + together["tuned"].map(WAYS))
    text = (
        "Each row is a way to choose λ: the closer a method's rows are, the less is lost without tuning. Based on "
        f"{words.count(int(table['n'].iloc[0]), 'test image')}, none of which was used to choose λ. "
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
    sentences, claims = [], dict[str, bool | None]()
    labelled = table[(table["tuned"] == "labelled") & (table["stage"] == "after")]
    if len(labelled):
        claims["tuning gains less after RI"] = below(mean_over(labelled, "worth_change"))
    for stage, part in table.groupby("stage", sort=False):
        worth = {way: mean_over(part[part["tuned"] == way], "worth") for way in SCORES}
        sentences.append(
            f"{str(stage).capitalize()} RI, tuning λ on labelled images gains {in_points(worth['labelled'])} over the "
            f"default, choosing it by interference on auxiliary images {in_points(worth['interference'])} (mean over "
            "methods)."
        )
        claim = f"choosing λ by interference on auxiliary images is worse than the default, {stage} RI"
        claims[claim] = below(worth["interference"])
    return " ".join([*sentences, beside_the_paper(claims)])


STUDY = Study(
    "tuning",
    "What tuning λ gains",
    "How much does tuning λ gain, on labelled images or by interference on auxiliary images alone?",
    "Gap between default and tuned λ, mean of 6 methods: 1.8 points before RI, 0.4 after. Choosing λ by interference "
    "on auxiliary images is worse than the default, before and after RI.",
    _rounds,
    _charts,
    _summary,
    _verdict,
    (
        methods("task-arithmetic", "ties", "dare", "tsv-m", "iso-c", "iso-cts"),
        Setting(
            "auxiliary",
            "auxiliary source on which λ is chosen by interference; by default that of the RI set",
            "",
            label="auxiliary source",
            among=lambda suite, _: {"": "that of the RI set"} | {item.name: item.name for item in suite.spec.auxiliary},
        ),
        Hyperparameter(
            "images",
            "validation images of each task, and images of the auxiliary source, on which λ is chosen",
            256,
            1,
            1_000_000,
            label="images to choose λ on",
            unit="images",
        ),
        Hyperparameter("levels", "values of λ to try", 11, 2, 200, label="values of λ", unit="values"),
        RI_SEEDS,
    ),
    version="1",
)
