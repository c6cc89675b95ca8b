"""How large each task vector is, block by block, and how much they point the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis.engine.sealing import Arrays
from ri_analysis.engine.store import Store
from ri_analysis.files import digest
from ri_analysis.measures.weights import cosines, gram_matrix, projections
from ri_analysis.merging.lines import block_index
from ri_analysis.progress import Progress
from ri_analysis.suite import ORIGINAL, Suite

VERSION = "1"  # raise when the inner products change their meaning

Matrix = npt.NDArray[np.float64]
_ARRAYS = ("grams", "pretrained", "along")


@dataclass(frozen=True)
class Gram:
    """Inner products of task vectors, tensor by tensor: `grams` (P, T, T), and ‖θ₀‖² of each tensor, `pretrained` (P,).

    `names` (P,) are the floating-point tensors, `tasks` (T,) the experts; `along` (P, T) are the products ⟨τ, θ₀⟩.
    """

    tasks: tuple[str, ...]
    names: tuple[str, ...]
    grams: Matrix
    pretrained: Matrix
    along: Matrix

    @property
    def arrays(self) -> Arrays:
        """All of it, as it is kept."""
        numbers = {name: getattr(self, name) for name in _ARRAYS}
        return {"tasks": np.array(self.tasks), "names": np.array(self.names), **numbers}

    @classmethod
    def of(cls, arrays: Arrays, tasks: Sequence[str] | None = None) -> Gram:
        """Return what `arrays` hold; answers of earlier versions do not name the `tasks`."""
        names = arrays["tasks"].astype(str).tolist() if tasks is None else tasks
        numbers = (arrays[name].astype(np.float64) for name in _ARRAYS)
        return cls(tuple(names), tuple(arrays["names"].astype(str).tolist()), *numbers)

    def select(self, tasks: Sequence[str]) -> Gram:
        """Return the part of `tasks` alone, in that order."""
        rows = [self.tasks.index(task) for task in tasks]
        # In the order of a fresh answer, so that sums have the same last digit.
        grams, along = (np.ascontiguousarray(part) for part in (self.grams[:, rows][:, :, rows], self.along[:, rows]))
        return Gram(tuple(tasks), self.names, grams, self.pretrained, along)

    def place(self) -> tuple[Matrix, Matrix, Matrix]:
        """Return where the experts lie, (T,) each: ‖τ_t‖ / ‖θ₀‖, ‖θ_t‖ / ‖θ₀‖ and cos(θ_t, θ₀), 0 where θ_t is."""
        base, along = self.pretrained.sum(), self.along.sum(axis=0)
        squares = np.diag(self.grams.sum(axis=0))
        lengths = np.sqrt(np.maximum(base + 2 * along + squares, 0))
        product = base + along
        cosine = np.divide(product, lengths * np.sqrt(base), out=np.zeros_like(product), where=lengths > 0)
        return np.sqrt(squares / base), lengths / np.sqrt(base), cosine

    def distance(self, task: str, other: str | None = None) -> float:
        """Return ‖θ_t − θ_u‖ / ‖θ₀‖ of two experts, ‖τ_t‖ / ‖θ₀‖ of one."""
        gram, one = self.grams.sum(axis=0), self.tasks.index(task)
        square = gram[one, one]
        if other is not None:
            two = self.tasks.index(other)
            square = square + gram[two, two] - 2 * gram[one, two]
        return float(np.sqrt(max(square, 0) / self.pretrained.sum()))

    def cosine(self) -> Matrix:
        """Return cos(τ_i, τ_j) over all parameters (T, T); NaN where a task vector is zero."""
        return cosines(self.grams.sum(axis=0))

    def cosine_table(self) -> pd.DataFrame:
        """Return one row per ordered pair of experts: `expert`, `other`, `cosine`."""
        experts, others = np.repeat(self.tasks, len(self.tasks)), np.tile(self.tasks, len(self.tasks))
        return pd.DataFrame({"expert": experts, "other": others, "cosine": self.cosine().ravel()})

    def norm_table(self) -> pd.DataFrame:
        """Return one row per task and block: `task`, `block`, `norm` = ‖τ_t‖, `share` = ‖τ_t‖ / ‖θ₀‖ of that block.

        Block 1 is the first transformer block, 0 is everything outside the blocks.
        """
        blocks = np.array([-1 if (found := block_index(name)) is None else found for name in self.names]) + 1
        rows = []
        for block in np.unique(blocks):
            inside = blocks == block
            size = float(np.sqrt(self.pretrained[inside].sum()))
            for place, task in enumerate(self.tasks):
                norm = float(np.sqrt(self.grams[inside, place, place].sum()))
                share = norm / size if size else float("nan")
                rows.append({"task": task, "block": int(block), "norm": norm, "share": share})
        return pd.DataFrame(rows, columns=["task", "block", "norm", "share"])


def task_vector_gram(
    suite: Suite,
    store: Store,
    experts: str = ORIGINAL,
    tasks: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Gram:
    """Return the Gram matrices of an expert set's task vectors, kept in the store; those of some are part of all's.

    All weights are read once, one tensor of all experts in memory at a time; `progress` counts tensors and may raise
    Cancelled. Raises InputError for a value that is not finite.
    """
    names = tuple(tasks or suite.set_tasks(experts))
    found = kept_gram(suite, store, experts, names)
    if found is None:
        vectors = suite.task_vectors(experts, names)
        total = sum(vectors.is_float(name) for name in vectors.names)
        tensors, grams, sizes, along = [], [], [], []
        for layer in vectors.walk():
            tensors.append(layer.name)
            grams.append(gram_matrix(layer))
            sizes.append(float(layer.pretrained.double().square().sum()))
            along.append(projections(layer))
            if progress is not None:
                progress(len(tensors), total)
        found = Gram(names, tuple(tensors), np.array(grams), np.array(sizes), np.array(along))
        store.put(_key(suite, experts, names), found.arrays)
    return found


def kept_gram(suite: Suite, store: Store, experts: str = ORIGINAL, tasks: Sequence[str] | None = None) -> Gram | None:
    """Return what `task_vector_gram` has kept in the store, None where it has yet to read the weights."""
    every = suite.set_tasks(experts)
    names = tuple(tasks or every)
    for known in (names, every):
        kept = store.get(_key(suite, experts, known))
        if kept is not None:
            return Gram.of(kept, known).select(names)
    return None


def _key(suite: Suite, experts: str, tasks: Sequence[str]) -> str:
    weights = [suite.pretrained.digest, *(suite.expert(task, experts).digest for task in tasks)]
    return digest(VERSION, "gram with the pretrained model", *weights)
