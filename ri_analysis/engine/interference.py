"""Everything `ri-analysis interference` says, as plain JSON values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ri_analysis.engine.blame import blame
from ri_analysis.engine.blocks import drift_by_block
from ri_analysis.engine.drift import measure_drift
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.geometry import weight_geometry
from ri_analysis.errors import InputError
from ri_analysis.measures import off_diagonal_mean
from ri_analysis.measures.distances import DISTANCES
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Progress


def interference_report(
    evaluator: Evaluator,
    recipe: MergeRecipe,
    *,
    with_blame: bool = False,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return crosstalk, drift under every distance, drift by block, weight space and, on request, blame of a merge.

    Keys: `suite`, `recipe`; `crosstalk` {expert: {task: nats}} over task data with `crosstalk_off_diagonal_mean`
    (nats, None with one task) and `crosstalk_table` with intervals; `drift` {distance: rows per task}; `drift_by_block`
    rows per task and block, None for a tower without blocks; `weight_space` {cosine: {expert: {expert: value}}, layers,
    correlation of cosine and of collision with crosstalk}; `blame`, rows per expert and task, None without
    `with_blame`. `limit` caps the images a task; `progress` starts anew with each part.
    """
    crosstalk = evaluator.crosstalk(recipe.experts, tasks=recipe.tasks, limit=limit, progress=progress)
    drift = measure_drift(evaluator, recipe, limit=limit, progress=progress)
    return {
        "suite": evaluator.suite.name,
        "recipe": recipe.to_dict(),
        "crosstalk": {
            expert: dict(zip(rows["task"], rows["crosstalk"].astype(float), strict=True))
            for expert, rows in crosstalk.groupby("expert", sort=False)
        },
        "crosstalk_off_diagonal_mean": _number(off_diagonal_mean(crosstalk)),
        "crosstalk_table": _rows(crosstalk),
        "drift": {name: _rows(drift.table(name)) for name in DISTANCES},
        "drift_by_block": _blocks(evaluator, recipe, progress),
        "weight_space": _weight_space(evaluator, recipe, crosstalk),
        "blame": _rows(blame(evaluator, recipe, seed=seed, progress=progress)) if with_blame else None,
    }


def _blocks(evaluator: Evaluator, recipe: MergeRecipe, progress: Progress | None) -> list[dict[str, Any]] | None:
    try:
        return _rows(drift_by_block(evaluator, recipe, progress=progress))
    except InputError as error:
        if "tower without blocks" in str(error):
            return None
        raise


def _weight_space(evaluator: Evaluator, recipe: MergeRecipe, crosstalk: pd.DataFrame) -> dict[str, Any]:
    geometry = weight_geometry(evaluator, recipe.experts, tasks=recipe.tasks)
    tasks, cosine = geometry.gram.tasks, geometry.gram.cosine()
    found: dict[str, Any] = {
        "cosine": {one: {two: _number(cosine[i, j]) for j, two in enumerate(tasks)} for i, one in enumerate(tasks)},
        "layers": _rows(geometry.layers),
    }
    for overlap in ("cosine", "collision"):
        rho, chance, pairs = geometry.correlation(crosstalk, overlap)
        found[f"{overlap}_with_crosstalk"] = {"spearman": _number(rho), "chance": _number(chance), "pairs": pairs}
    return found


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows as plain values, None for what is not a number."""
    return [{str(name): _number(value) for name, value in row.items()} for row in table.to_dict(orient="records")]


def _number(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
