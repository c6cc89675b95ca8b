"""Which λ to merge at where there are no labels: the one that disturbs the experts least on auxiliary images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis.analyses.analysis import Analysis, Answer, Columns, Limit, Options, rows
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.grids import OUTWARD, at_scale, best_of, beyond, find_scale, scales
from ri_analysis.engine.measurement import Request
from ri_analysis.engine.outcomes import Outcomes, Section
from ri_analysis.engine.results import kept_table
from ri_analysis.engine.sections import AUXILIARY, usual_source
from ri_analysis.errors import InputError
from ri_analysis.figures import words
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.scales import interference_by_scale
from ri_analysis.intervals import normal_mean
from ri_analysis.merging import MergeRecipe, find_method
from ri_analysis.progress import Progress

LEVELS, IMAGES = 11, 256  # as the study `tuning` has them, so that they share what is measured


def _images(evaluator: Evaluator, recipe: MergeRecipe) -> tuple[Section, ...]:
    return evaluator.sections(recipe.tasks, AUXILIARY + usual_source(evaluator.suite))


def _requests(evaluator: Evaluator, recipe: MergeRecipe, _: Options, limit: Limit) -> list[Request]:
    return list(_wanted(evaluator, recipe, limit).values())


def _wanted(evaluator: Evaluator, recipe: MergeRecipe, limit: Limit) -> dict[float, Request]:
    """Return what it needs by λ, as far as that is known: the grid goes on where it ends at its best value."""
    sections = _images(evaluator, recipe)
    grid = scales(find_method(recipe.method), LEVELS)
    wanted = dict[float, Request]()
    for _ in range(OUTWARD + 1):
        wanted |= {value: Request(evaluator.model(at_scale(recipe, value)), sections, limit) for value in grid}
        found = {value: evaluator.measurement.kept(request) for value, request in wanted.items()}
        known = {value: -outcomes.interference for value, outcomes in found.items() if outcomes is not None}
        grid = beyond(known) if len(known) == len(wanted) else []
        if not grid:
            break
    return wanted


def _measure(
    evaluator: Evaluator, recipe: MergeRecipe, _: Options, limit: Limit, progress: Progress | None
) -> pd.DataFrame:
    """Return one row for each λ tried, see `of_outcomes`."""
    while True:
        wanted = _wanted(evaluator, recipe, limit)
        found = evaluator.measurement.outcomes(list(wanted.values()), progress)
        if _wanted(evaluator, recipe, limit).keys() == wanted.keys():
            return of_outcomes(dict(zip(wanted, found, strict=True)))


def of_outcomes(tried: Mapping[float, Outcomes]) -> pd.DataFrame:
    """Return one row for each λ: `scale`, `interference` in nats, `change` from the least, `least`, and `n`.

    All heads look at the same images, so that an image is one observation: its mean over the heads. Intervals are
    normal, those of `change` paired image by image; the `least` was picked among what is compared, so they hold for
    each λ alone.
    """
    images = {scale: _by_image(outcomes) for scale, outcomes in sorted(tried.items())}
    least = best_of({scale: -float(values.mean()) for scale, values in images.items()})
    found = []
    for scale, values in images.items():
        row: dict[str, object] = {"scale": scale}
        for name, each in (("interference", values), ("change", values - images[least])):
            row |= dict(
                zip((name, f"{name}_low", f"{name}_high"), (float(each.mean()), *normal_mean([each])), strict=True)
            )
        found.append(row | {"least": scale == least, "n": len(values)})
    return pd.DataFrame(found)


def _by_image(outcomes: Outcomes) -> npt.NDArray[np.float64]:
    means: npt.NDArray[np.float64] = np.mean([each.astype(np.float64) for each in outcomes.divergence.values()], axis=0)
    return means


def chosen_scale(table: pd.DataFrame) -> float:
    """Return the λ of least interference."""
    return float(table.loc[table["least"], "scale"].iloc[0])


def alike(table: pd.DataFrame) -> tuple[float, float]:
    """Return the ends of the run of neighbouring λ about the least that is not clearly worse."""
    scales_tried, close = table["scale"].to_numpy(float), (table["change_low"] <= 0).to_numpy()
    place = int(np.flatnonzero(table["least"])[0])
    low = high = place
    while low > 0 and close[low - 1]:
        low -= 1
    while high + 1 < len(close) and close[high + 1]:
        high += 1
    return float(scales_tried[low]), float(scales_tried[high])


def _refusal(evaluator: Evaluator, recipe: MergeRecipe) -> str:
    method = find_method(recipe.method)
    if not scales(method, 2):
        return f"{method.title} has no λ"
    try:
        usual_source(evaluator.suite)
    except InputError:
        return "it needs auxiliary images, but the suite declares none"
    return ""


def _cost(_: Evaluator, recipe: MergeRecipe) -> str:
    return (
        f"{words.count(LEVELS, 'merge')} of each expert set by {find_method(recipe.method).title}, on {IMAGES} images."
    )


# --- what it says -----------------------------------------------------------------------------------------


def _default(recipe: MergeRecipe) -> float:
    item = find_scale(find_method(recipe.method))
    assert item is not None  # or it had been refused
    return float(item.default)


def _charts(answer: Answer[pd.DataFrame], dark: bool) -> dict[str, Chart]:
    images = words.count(int(answer.results.before["n"].iloc[0]), "auxiliary image")
    how = (
        "Lower is better: the merged model predicts more like each expert. A star marks the lowest point; where the "
        "curve is flat, neighbouring values work just as well."
    )
    n = f"Based on {images}, through the head of every merged task."
    return {"scale": Chart(interference_by_scale(answer.results, _default(answer.recipes.before), dark=dark), how, n=n)}


def _says(answer: Answer[pd.DataFrame]) -> str:
    found = [
        f"**λ = {chosen_scale(table):g}** {stage} RI ({_how_sure(table)})"
        for stage, table in answer.results.stages.items()
    ]
    return f"Least interference at {' and '.join(found)}; the method's default is {_default(answer.recipes.before):g}."


def _how_sure(table: pd.DataFrame) -> str:
    best, tried = chosen_scale(table), table["scale"]
    for end, beyond_it in ((tried.min(), "lower"), (tried.max(), "higher")):
        if best == end:
            return f"the edge of the range tried: a {beyond_it} λ may be better"
    low, high = alike(table)
    return "every other λ tried is clearly worse" if low == high else f"{low:g} to {high:g} are not clearly worse"


ANALYSIS = Analysis(
    name="scale",
    title="λ without labels",
    question="Which λ should you use without labelled images? The one with the least interference, measured on "
    "auxiliary images.",
    formula=r"""$$\lambda^* = \arg\min_\lambda \frac1T \sum_t \mathbb{E}_{x\sim U}\,
KL\big(p_t(x;\theta_t)\,\|\,p_t(x;\theta_m(\lambda))\big)$$

$U$ are the auxiliary images that RI was made with, $p_t$ the softmax through the head of task $t$, $\theta_t$ its
original expert. The study `tuning` measures how this choice compares with the default and with one made on labelled
images.""",
    measure=_measure,
    requests=_requests,
    images=_images,
    subject=lambda recipe: at_scale(recipe, _default(recipe)),  # whatever its own λ
    kept=kept_table("scale"),
    refusal=_refusal,
    cost=_cost,
    button="Find λ",
    limits=(IMAGES,),
    capped=True,
    tables=lambda answer: {"scale": answer.stacked(lambda table: table)},
    charts=_charts,
    says=_says,
    columns={
        "scale": Columns(
            "an expert set and a λ that was tried",
            {
                "experts": "",
                "scale": "λ",
                "interference": "ξ on the auxiliary images, mean over the merged tasks' heads, nats",
                "change": "its difference from the lowest, paired image by image",
                "least": "whether it is the lowest: the λ chosen",
                "n": "",
            },
        )
    },
    contract={"scale": rows, "chosen": chosen_scale},
    page="sensitivity",
    place=10,
)
