"""Drift by block: after which transformer block the merged model and a task's expert part."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from ri_analysis.engine.evaluator import Evaluator, Progress
from ri_analysis.engine.models import Tally, expert_model, merged_model, probe, probe_size
from ri_analysis.engine.store import Arrays, known
from ri_analysis.measures.blocks import cka_distance, token_distance
from ri_analysis.merging import MergeRecipe
from ri_analysis.statistics import bootstrap_mean

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
    merged = merged_model(evaluator, recipe)
    keys = {
        task: evaluator.answer_key("blocks", merged.digest + evaluator.suite.expert(task).digest, task, "test", limit)
        for task in recipe.tasks
    }
    absent = [task for task, key in keys.items() if not evaluator.store.has(key)]
    if absent:
        _compute(evaluator, recipe, {task: keys[task] for task in absent}, limit, progress)
    return pd.concat([_rows(task, known(evaluator.store.get(key))) for task, key in keys.items()], ignore_index=True)


def _compute(
    evaluator: Evaluator, recipe: MergeRecipe, keys: dict[str, str], limit: int | None, progress: Progress | None
) -> None:
    sets = {task: probe(evaluator, task, limit) for task in keys}
    tally = Tally(progress, 2 * probe_size(evaluator, list(keys), limit))
    merged = merged_model(evaluator, recipe)
    read = evaluator.encoder.block_tokens_of_many
    tokens = read(merged.weights(), list(sets.values()), source=merged.name, progress=tally.within)
    tally.advance(tally.total // 2)
    for task, other in zip(keys, tokens, strict=True):
        expert = expert_model(evaluator, task)
        own = read(expert.weights(), [sets[task]], source=expert.name, progress=tally.within)[0]
        evaluator.store.put(keys[task], _compare(own, other))
        tally.advance(len(sets[task][1]))


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
