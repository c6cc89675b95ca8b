"""Drift by block: after which transformer block the merged model and a task's expert part."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.store import Arrays, known
from ri_analysis.files import digest
from ri_analysis.measures.blocks import cka_distance, token_distance
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Counter, Progress
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
            own = read(expert.weights(None), [chosen], source=expert.name, progress=counter.within)[0]
            evaluator.store.put(keys[part.name], _compare(own, other))
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
