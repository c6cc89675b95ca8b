"""How far merges move the weights, whatever their λ is called: one scale for every method."""

from __future__ import annotations

import time

import pandas as pd
import torch

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.merging import MergeRecipe, direction
from ri_analysis.progress import Parts, Progress
from ri_analysis.studies.conducting.tables import KeptTable

MEANING = (
    "how far the merge moves the weights from the pretrained model, relative to the plain mean of the same experts' "
    "task vectors: 1 is as far as averaging goes, whatever the method calls its λ"
)


def with_effective_scales(evaluator: Evaluator, table: pd.DataFrame, progress: Progress | None = None) -> pd.DataFrame:
    """Return the grid of the sensitivity study's curves over λ, each row with its `effective` scale.

    That is λ·‖d‖ / ‖mean τ_t‖, where d is what the method makes of the task vectors τ_t of the row's expert set at
    λ = 1. Only what was measured has a row; other seeds of RI are left out. Raises ValueError for other axes than λ.
    """
    if set(table["x_name"]) != {"scale"} or table["y_name"].notna().any():
        raise ValueError("expected curves over λ")
    grid = table[(table["kind"] == "grid") & (table["run"] == 0)]
    pairs = grid[["method", "experts"]].drop_duplicates()
    tasks = evaluator.suite.tasks
    recipes = [
        evaluator.recipe(method, experts=experts, tasks=tasks) for method, experts in pairs.itertuples(index=False)
    ]
    place = KeptTable(evaluator, "effective scales", "1", [evaluator.digest(recipe) for recipe in recipes])
    known = place.find()
    if known is None:
        started, parts = time.monotonic(), Parts(progress, len(recipes) + pairs["experts"].nunique())
        means = {
            experts: _norm(evaluator, evaluator.recipe("averaging", experts=experts, tasks=tasks), parts.part(number))
            for number, experts in enumerate(pairs["experts"].unique())
        }
        norms = [_norm(evaluator, each, parts.part(len(means) + number)) for number, each in enumerate(recipes)]
        factors = [norm / means[recipe.experts] for norm, recipe in zip(norms, recipes, strict=True)]
        found = place.keep(pairs.assign(factor=factors), len(factors), time.monotonic() - started)
    else:
        found = known.table
    joined = grid.merge(found, on=["method", "experts"], how="left")
    return joined.assign(effective=joined["x"] * joined["factor"]).drop(columns="factor")


def _norm(evaluator: Evaluator, recipe: MergeRecipe, progress: Progress | None) -> float:
    """Return ‖d‖ of a recipe: of its merged task vector at λ = 1."""
    vectors = evaluator.task_vectors(recipe.experts)
    parts = direction(vectors, recipe, statistics=evaluator.statistics(recipe), progress=progress)
    return float(sum(torch.linalg.vector_norm(part, dtype=torch.float64).item() ** 2 for _, part in parts) ** 0.5)
