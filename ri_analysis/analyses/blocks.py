"""Drift by block: after which transformer block merged model and expert part."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from ri_analysis.analyses.analysis import Analysis, Answer, Columns, Limit, Option, Options, rows
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.results import kept_table
from ri_analysis.engine.sealing import Arrays
from ri_analysis.engine.store import known
from ri_analysis.figures import words
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.matrices import ONLY_CLEAR, Axes, with_ends
from ri_analysis.files import digest
from ri_analysis.intervals import bootstrap_mean
from ri_analysis.measures.blocks import cka_distance, token_distance
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Counter, Progress

BLOCK_LIMIT = 128  # images a task: class tokens of every block of all tasks are held at once


def drift_by_block(
    evaluator: Evaluator,
    recipe: MergeRecipe,
    *,
    limit: int | None = BLOCK_LIMIT,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return how far the merged model's class tokens are from the original expert's after each block, per task.

    Columns: `task`, `block` (1 is the first), `cka` = 1 − linear CKA with `cka_low`, `cka_high` (see `cka_distance`),
    `distance` (mean of `token_distance`) with `distance_low`, `distance_high`, `n`. On a probe of `limit` images a
    task. Raises InputError when the tower is no vision transformer.
    """
    merged, sections = evaluator.model(recipe), evaluator.sections(recipe.tasks)
    keys = {
        part.name: digest(evaluator.measurement.name(merged, "blocks", part), str(part.count(limit)))
        for part in sections
    }
    absent = [part for part in sections if not evaluator.store.has(keys[part.name])]
    counter = Counter(progress, 2 * sum(part.count(limit) for part in absent))
    if absent:
        sets = [(part.images, part.rows(limit)) for part in absent]
        read = evaluator.encoder.block_tokens_of_many
        tokens = read(merged.weights(counter.alive), sets, source=merged.name, progress=counter.within)
        counter.advance(counter.total // 2)
        for part, chosen, other in zip(absent, sets, tokens, strict=True):
            expert = evaluator.expert(part.name)
            [own] = read(expert.weights(None), [chosen], source=expert.name, progress=counter.within)
            evaluator.store.put(keys[part.name], _compare(own.tokens, other.tokens))
            counter.advance(len(chosen[1]))
    return pd.concat([_rows(task, known(evaluator.store.get(key))) for task, key in keys.items()], ignore_index=True)


def _compare(expert: torch.Tensor, merged: torch.Tensor) -> Arrays:
    """Return `cka` (blocks, 3): value, low, high; and `distance` (blocks, n)."""
    pairs = [(own.numpy(), other.numpy()) for own, other in zip(expert, merged, strict=True)]
    cka = [(value, *interval) for value, interval in (cka_distance(own, other) for own, other in pairs)]
    return {"cka": np.array(cka), "distance": np.stack([token_distance(own, other) for own, other in pairs])}


def _rows(task: str, arrays: Arrays) -> pd.DataFrame:
    distance: npt.NDArray[np.float64] = arrays["distance"].astype(np.float64)
    intervals = [bootstrap_mean([each]) for each in distance]
    cka = arrays["cka"].astype(np.float64).T
    return pd.DataFrame(
        {
            "task": task,
            "block": np.arange(1, len(distance) + 1),
            **dict(zip(("cka", "cka_low", "cka_high"), cka, strict=True)),
            "distance": distance.mean(axis=1),
            "distance_low": [low for low, _ in intervals],
            "distance_high": [high for _, high in intervals],
            "n": distance.shape[1],
        }
    )


def _measure(
    evaluator: Evaluator, recipe: MergeRecipe, _: Options, limit: Limit, progress: Progress | None
) -> pd.DataFrame:
    return drift_by_block(evaluator, recipe, limit=limit, progress=progress)


def _cells(table: pd.DataFrame, column: str) -> pd.DataFrame:
    return table.pivot(index="task", columns="block", values=column).reindex(list(dict.fromkeys(table["task"])))


def _charts(answer: Answer[pd.DataFrame], dark: bool) -> dict[str, Chart]:
    view = str(answer.options["by"])
    axes = Axes("task", "after block", _QUANTITIES[view], "<b>{row}</b>, after block {column}")
    chart = with_ends(answer.results, view, axes, _cells, dark=dark)
    images = words.count(int(answer.results.before["n"].max()), "image")
    how = _HOW[view] if answer.results.after is None else f"{_HOW[view]} {ONLY_CLEAR}"
    return {"drift-by-block": Chart(chart, how, n=f"Based on up to {images} a task; intervals on hover.")}


def _says(answer: Answer[pd.DataFrame]) -> str:
    view = str(answer.options["by"])
    by_block = answer.results.map(lambda table: table.groupby("block")[view].mean())
    said = [
        f"{stage} RI **{means.iloc[0]:.3f}** after the first block and **{means.iloc[-1]:.3f}** after the last"
        for stage, means in by_block.stages.items()
    ]
    return f"Mean {_QUANTITIES[view]}: {'; '.join(said)}."


def _refusal(evaluator: Evaluator, _: MergeRecipe) -> str:
    return "" if evaluator.encoder.blocks else "this tower has no transformer blocks to look into"


_VIEWS = {"cka": "1 − linear CKA", "distance": "normalised distance"}
_QUANTITIES = _VIEWS | {"cka": "dissimilarity of features (1 − linear CKA)"}
_HOW = {
    "cka": "Read each row from left to right: where the colour sets in, the merged model's features of that task's "
    "images begin to differ from the expert's; 0 is the same geometry up to rotation and scale. Both matrices share "
    "one scale.",
    "distance": "Read each row from left to right: how far an image's class token has moved, in units of the typical "
    "distance of an image from the average image. Both matrices share one scale.",
}

ANALYSIS = Analysis(
    name="blocks",
    title="Where drift starts in the model",
    question="After which transformer block do the merged model and the task's expert differ?",
    formula=r"""Of the centred class tokens $X$ (expert) and $Y$ (merged) after a block, one row an image:

$$1-\frac{\lVert X^\top Y\rVert_F^2}{\lVert X^\top X\rVert_F\,\lVert Y^\top Y\rVert_F}$$

(Kornblith et al. 2019); or the mean of $\lVert x-y\rVert$ in units of the expert's own spread.""",
    options=(
        Option(
            "by",
            "how class tokens are compared",
            "cka",
            label="comparison of class tokens",
            choices=tuple(_VIEWS),
            titles=tuple(_VIEWS.values()),
            address="block",
        ),
    ),
    measure=_measure,
    kept=kept_table("blocks"),
    refusal=_refusal,
    limits=(BLOCK_LIMIT,),
    capped=True,
    tables=lambda answer: {"drift-by-block": answer.stacked(lambda table: table)},
    charts=_charts,
    says=_says,
    columns={
        "drift-by-block": Columns(
            "an expert set, a task and a transformer block",
            {
                "experts": "",
                "task": "",
                "block": "1 is the first",
                "cka": "1 − linear CKA of class tokens of merged model and expert",
                "distance": "mean distance of class tokens in units of the expert's spread",
                "n": "",
            },
        )
    },
    contract={"drift_by_block": rows},
    place=30,
)
