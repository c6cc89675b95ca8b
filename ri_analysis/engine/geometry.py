"""Weight space of an expert set: cosines, singular task interference, and how overlap relates to crosstalk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.store import Arrays
from ri_analysis.files import digest
from ri_analysis.measures.correlation import Correlation, pair_correlation
from ri_analysis.measures.weights import LayerGeometry, cosines, layer_geometries
from ri_analysis.merging.factorisation import truncated_svd
from ri_analysis.merging.lines import block_index
from ri_analysis.progress import Progress
from ri_analysis.suite import ORIGINAL

VERSION = "1"  # raise when the geometry changes its meaning

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Geometry:
    """The weight space of some experts of one set.

    `layers`: one row per weight matrix, in the order images pass them: `layer`, `block` (1 is the first, 0 outside the
    blocks), `interference` = ‖(UᵀU−I) Σ (VᵀV−I)‖₁, `share` = interference / trace Σ, `mean_cosine` over pairs;
    unchanged matrices are left out.
    `cosine` (T, T) and `collision` (T, T), the singular task interference of each pair over all matrices / trace Σ.
    """

    tasks: tuple[str, ...]
    layers: pd.DataFrame
    cosine: Matrix
    collision: Matrix

    def cosine_table(self) -> pd.DataFrame:
        """Return one row per ordered pair: `expert`, `other`, `cosine`."""
        rows = [
            {"expert": one, "other": two, "cosine": float(self.cosine[i, j])}
            for i, one in enumerate(self.tasks)
            for j, two in enumerate(self.tasks)
        ]
        return pd.DataFrame(rows)

    def against_crosstalk(self, crosstalk: pd.DataFrame) -> pd.DataFrame:
        """Return one row per pair: `expert`, `other`, `cosine`, `collision`, `crosstalk` (mean of both ways, nats)."""
        matrix = crosstalk_matrix(crosstalk, self.tasks)
        rows = []
        for i, one in enumerate(self.tasks):
            for j in range(i):
                row: dict[str, object] = {"expert": one, "other": self.tasks[j]}
                row |= {"cosine": float(self.cosine[i, j]), "collision": float(self.collision[i, j])}
                rows.append(row | {"crosstalk": float(matrix[i, j] + matrix[j, i]) / 2})
        return pd.DataFrame(rows, columns=["expert", "other", "cosine", "collision", "crosstalk"])

    def correlation(self, crosstalk: pd.DataFrame, overlap: str = "cosine") -> Correlation:
        """Return the rank correlation over pairs of `overlap` ("cosine" or "collision") with the measured crosstalk."""
        matrix = crosstalk_matrix(crosstalk, self.tasks)
        return pair_correlation(self.cosine if overlap == "cosine" else self.collision, (matrix + matrix.T) / 2)


def crosstalk_matrix(crosstalk: pd.DataFrame, tasks: Sequence[str]) -> Matrix:
    """Return a crosstalk table as a matrix (T, T), expert by task."""
    cells = crosstalk.pivot(index="expert", columns="task", values="crosstalk")
    return cells.reindex(index=list(tasks), columns=list(tasks)).to_numpy(dtype=np.float64)


def weight_geometry(
    evaluator: Evaluator,
    experts: str = ORIGINAL,
    *,
    tasks: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Geometry:
    """Return the weight space of an expert set; `progress` counts tensors and may raise Cancelled."""
    suite = evaluator.suite
    names = tuple(tasks or suite.set_tasks(experts))
    weights = [suite.pretrained.digest, *(suite.expert(task, experts).digest for task in names)]
    key = digest(VERSION, "geometry", *weights)
    kept = evaluator.store.get(key)
    if kept is None:
        vectors = suite.task_vectors(experts, names)
        total = sum(vectors.is_float(name) for name in vectors.names)
        report = None if progress is None else lambda done: progress(done, total)
        kept = _arrays(layer_geometries(vectors.walk(), truncated_svd, progress=report))
        evaluator.store.put(key, kept)
    return _geometry(names, kept)


def _arrays(found: list[LayerGeometry]) -> Arrays:
    fields = ("name", "gram", "interference", "singular_sum", "pairs", "pair_sums")
    return {field: np.array([getattr(layer, field) for layer in found]) for field in fields}


def _geometry(tasks: tuple[str, ...], arrays: Arrays) -> Geometry:
    numbers = {name: each.astype(np.float64) for name, each in arrays.items() if name != "name"}
    pairs, sums = numbers["pairs"].sum(axis=0), numbers["pair_sums"].sum(axis=0)
    collision = np.divide(pairs, sums, out=np.zeros_like(pairs), where=sums > 0)
    rows, below = [], np.tril_indices(len(tasks), -1)
    names = [str(name) for name in arrays["name"]]
    for place in sorted(range(len(names)), key=lambda place: _depth(names[place])):
        name = names[place]
        if not numbers["singular_sum"][place]:
            continue
        block = block_index(name)
        interference, total = float(numbers["interference"][place]), float(numbers["singular_sum"][place])
        angles = cosines(numbers["gram"][place])[below]
        mean = float(np.nanmean(angles)) if np.isfinite(angles).any() else float("nan")
        row = {"layer": name, "block": 0 if block is None else block + 1, "interference": interference}
        rows.append(row | {"share": interference / total, "mean_cosine": mean})
    columns = ["layer", "block", "interference", "share", "mean_cosine"]
    return Geometry(tasks, pd.DataFrame(rows, columns=columns), cosines(numbers["gram"].sum(axis=0)), collision)


def _depth(name: str) -> float:
    """Order layers as images pass them: state dicts name the projection out of the tower before its blocks."""
    block = block_index(name)
    if block is not None:
        return block + 1
    return math.inf if name == "visual.proj" else 0
