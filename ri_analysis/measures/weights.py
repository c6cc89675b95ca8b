"""Weight space: how much task vectors point the same way, and how much their singular directions collide."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from ri_analysis.task_vectors import PIECE, Layer

Matrix = npt.NDArray[np.float64]


class Triples(Protocol):
    """The leading singular triples of a matrix: u (m, k), s (k,), v (n, k)."""

    @property
    def u(self) -> Matrix: ...

    @property
    def s(self) -> Matrix: ...

    @property
    def v(self) -> Matrix: ...


Decompose = Callable[[Matrix, int], Triples]  # a matrix and a rank → its leading triples


class Collisions(NamedTuple):
    """How much the leading singular directions of T task vectors of one matrix collide.

    `interference` is ‖(UᵀU−I) Σ (VᵀV−I)‖₁ of all experts, `singular_sum` the trace of Σ, `pairs` (T, T) the same
    interference of two experts at a time and `pair_sums` (T, T) their Σ.
    """

    interference: float
    singular_sum: float
    pairs: Matrix
    pair_sums: Matrix


def collisions(deltas: Matrix, decompose: Decompose) -> Collisions:
    """Return how one matrix's task vectors (T, m, n) collide; `decompose` is the SVD to use.

    Each expert contributes a T-th of the singular directions, as in TSV-M, so that all could be kept apart.
    """
    count = len(deltas)
    rank = max(1, int(min(deltas.shape[1:]) * (1 / count)))
    parts = [decompose(delta, rank) for delta in deltas]
    sums = np.array([part.s.sum() for part in parts])
    pairs, pair_sums = np.zeros((count, count)), np.zeros((count, count))
    for i in range(count):
        for j in range(i):
            pairs[i, j] = pairs[j, i] = _pair_interference(parts[i], parts[j])
            pair_sums[i, j] = pair_sums[j, i] = sums[i] + sums[j]
    return Collisions(singular_task_interference(parts), float(sums.sum()), pairs, pair_sums)


def cosines(gram: Matrix) -> Matrix:
    """Return the cosines (T, T) of T vectors with Gram matrix `gram`; NaN where a vector is zero."""
    norms = np.sqrt(np.diag(gram))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.clip(gram / np.outer(norms, norms), -1, 1))


def gram_matrix(layer: Layer) -> Matrix:
    """Return the inner products (T, T) of one tensor's task vectors, summed in float64."""
    gram = np.zeros((layer.count, layer.count))
    for piece in layer.pieces():
        part = piece.double().numpy()
        gram += part @ part.T
    return gram


def projections(layer: Layer) -> Matrix:
    """Return the inner products (T,) of one tensor's task vectors with the pretrained tensor, summed in float64."""
    base = torch.split(layer.pretrained.reshape(-1), PIECE)
    parts = (piece.double() @ part.double() for piece, part in zip(layer.pieces(), base, strict=True))
    return np.asarray(sum(part.numpy() for part in parts), np.float64)


def singular_task_interference(parts: Iterable[Triples]) -> float:
    """Return ‖(UᵀU−I) Σ (VᵀV−I)‖₁, the sum of absolute entries, of concatenated singular triples.

    Gargiulo et al. 2025, arXiv 2412.00081, equation 4. 0 when the experts' singular directions are orthogonal.
    """
    triples = list(parts)
    u, v = np.hstack([part.u for part in triples]), np.hstack([part.v for part in triples])
    s = np.concatenate([part.s for part in triples])
    identity = np.eye(len(s))
    return float(np.abs((u.T @ u - identity) @ (s[:, None] * (v.T @ v - identity))).sum())


def _pair_interference(first: Triples, second: Triples) -> float:
    """Return the interference of two experts: each one's own directions are orthonormal, so cross terms are left."""
    a, b = first.u.T @ second.u, first.v.T @ second.v
    return float(np.abs((a * second.s) @ b.T).sum() + np.abs((a.T * first.s) @ b).sum())
