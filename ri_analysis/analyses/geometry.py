"""Weight space of an expert set: cosines, singular task interference, and how overlap relates to crosstalk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.gram import Gram, task_vector_gram
from ri_analysis.engine.sealing import Arrays
from ri_analysis.files import digest
from ri_analysis.measures.correlation import Correlation, pair_correlation
from ri_analysis.measures.weights import Collisions, collisions, cosines
from ri_analysis.merging.factorisation import truncated_svd
from ri_analysis.merging.lines import block_index
from ri_analysis.progress import Counter, Progress
from ri_analysis.suite import ORIGINAL

VERSION = "1"  # raise when the geometry changes its meaning

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Geometry:
    """The weight space of some experts of one set: the inner products of their task vectors, and what collides.

    `layers`: one row per weight matrix, in the order images pass them: `layer`, `block` (1 is the first, 0 outside the
    blocks), `interference` = ‖(UᵀU−I) Σ (VᵀV−I)‖₁, `share` = interference / trace Σ, `mean_cosine` over pairs;
    unchanged matrices are left out.
    `collision` (T, T): the singular task interference of each pair over all matrices / trace Σ.
    """

    gram: Gram
    layers: pd.DataFrame
    collision: Matrix

    def against_crosstalk(self, crosstalk: pd.DataFrame) -> pd.DataFrame:
        """Return one row per pair: `expert`, `other`, `cosine`, `collision`, `crosstalk` (mean of both ways, nats)."""
        tasks, cosine = self.gram.tasks, self.gram.cosine()
        matrix = crosstalk_matrix(crosstalk, tasks)
        rows = []
        for i, one in enumerate(tasks):
            for j in range(i):
                row: dict[str, object] = {"expert": one, "other": tasks[j]}
                row |= {"cosine": float(cosine[i, j]), "collision": float(self.collision[i, j])}
                rows.append(row | {"crosstalk": float(matrix[i, j] + matrix[j, i]) / 2})
        return pd.DataFrame(rows, columns=["expert", "other", "cosine", "collision", "crosstalk"])

    def correlation(self, crosstalk: pd.DataFrame, overlap: str = "cosine") -> Correlation:
        """Return the rank correlation over pairs of `overlap` ("cosine" or "collision") with the measured crosstalk."""
        matrix = crosstalk_matrix(crosstalk, self.gram.tasks)
        return pair_correlation(self.gram.cosine() if overlap == "cosine" else self.collision, (matrix + matrix.T) / 2)


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
    """Return the weight space of an expert set; `progress` counts matrices and may raise Cancelled."""
    suite, store, counter = evaluator.suite, evaluator.store, Counter(progress, 0)
    names = tuple(tasks or suite.set_tasks(experts))
    gram = task_vector_gram(suite, store, experts, names, counter.alive)  # quick beside the decompositions
    weights = [suite.pretrained.digest, *(suite.expert(task, experts).digest for task in names)]
    key = digest(VERSION, "geometry", *weights)
    kept = store.get(key)
    if kept is None:
        vectors = suite.task_vectors(experts, names)
        changed = [name for name, each in zip(gram.names, gram.grams, strict=True) if each.any()]
        matrices = [name for name in changed if len(vectors.shape(name)) == 2]
        counter.total, found = len(matrices), []
        for name in matrices:
            found.append(collisions(vectors.layer(name).deltas.double().numpy(), truncated_svd))
            counter.advance(1)
        fields = ((field, [getattr(each, field) for each in found]) for field in Collisions._fields)
        kept = {"name": np.array(matrices)} | {field: np.array(values) for field, values in fields}
        store.put(key, kept)
    return _geometry(gram, kept)


def _geometry(gram: Gram, arrays: Arrays) -> Geometry:
    numbers = {name: arrays[name].astype(np.float64) for name in Collisions._fields}
    shape = (-1, len(gram.tasks), len(gram.tasks))  # also where no matrix was changed
    pairs, sums = (numbers[name].reshape(shape).sum(axis=0) for name in ("pairs", "pair_sums"))
    collision = np.divide(pairs, sums, out=np.zeros_like(pairs), where=sums > 0)
    rows, below = [], np.tril_indices(len(gram.tasks), -1)
    names = [str(name) for name in arrays["name"]]
    for place in sorted(range(len(names)), key=lambda place: _depth(names[place])):
        name = names[place]
        interference, total = float(numbers["interference"][place]), float(numbers["singular_sum"][place])
        if not total:  # answers kept by earlier versions name all tensors
            continue
        block = block_index(name)
        angles = cosines(gram.grams[gram.names.index(name)])[below]
        mean = float(np.nanmean(angles)) if np.isfinite(angles).any() else float("nan")
        row = {"layer": name, "block": 0 if block is None else block + 1, "interference": interference}
        rows.append(row | {"share": interference / total, "mean_cosine": mean})
    columns = ["layer", "block", "interference", "share", "mean_cosine"]
    return Geometry(gram, pd.DataFrame(rows, columns=columns), collision)


def _depth(name: str) -> float:
    """Order layers as images pass them: state dicts name the projection out of the tower before its blocks."""
    block = block_index(name)
    if block is not None:
        return block + 1
    return math.inf if name == "visual.proj" else 0
