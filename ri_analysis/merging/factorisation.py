"""The factorisations the SVD methods share, through the Gram matrix of the short side, in float64.

For a matrix A of m×n with r = min(m, n), one symmetric eigendecomposition of the r×r Gram matrix AAᵀ (AᵀA for a tall
A) gives the singular values and the short side's singular vectors; the long side's follow by one product. That is
two to four times cheaper than a full SVD of the same matrix and needs no transposition of wide matrices.

Accuracy: the Gram matrix squares the condition number, so a singular direction with σ_i = ρ·σ₁ is known to about
1e-16/ρ², relative. Float32 experts carry noise of 6e-8·σ₁, so directions below EPSILON·σ₁ are not the experts'
own: they are dropped from every result here, which is also what makes the polar factor of a rank-deficient matrix
unique (the partial isometry onto its row space). Against torch.linalg.svd in float64 on full-rank random matrices the
results agree to 1e-9, relative, where no two singular values coincide.

LAPACK runs on one thread here: on matrices of a few thousand rows a second thread mostly waits, and is billed for it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import lapack  # type: ignore[import-untyped,unused-ignore]
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped,unused-ignore]

Matrix = npt.NDArray[np.float64]

EPSILON = 1e-6


class SVD(NamedTuple):
    """The leading singular triples of a matrix: u (m, k), s (k,) descending and positive, v (n, k)."""

    u: Matrix
    s: Matrix
    v: Matrix


class _OneThread:
    """While any thread is inside, numpy's BLAS and LAPACK use one thread each; re-entrant across threads."""

    def __init__(self) -> None:
        self._pools: Any = ThreadpoolController().select(internal_api="openblas")
        self._before: list[int] = []
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._before = [pool.get_num_threads() for pool in self._pools.lib_controllers]
                self._set([1] * len(self._before))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._set(self._before)

    def _set(self, counts: Sequence[int]) -> None:
        for pool, count in zip(self._pools.lib_controllers, counts, strict=True):
            # The library lets only the thread that first set a limit change it; here any thread may leave last.
            if hasattr(pool, "clear_controlling_thread"):
                pool.clear_controlling_thread(force=True)
            pool.set_num_threads(count)


one_thread = _OneThread()


def as_matrix(tensor: torch.Tensor) -> Matrix:
    """Return a 2-D tensor as a float64 NumPy matrix."""
    return np.asarray(tensor.double().numpy())


def as_tensor(matrix: Matrix) -> torch.Tensor:
    """Return a matrix as a float32 tensor."""
    return torch.from_numpy(matrix).float()


def truncated_svd(matrix: Matrix, rank: int, floor: float = 0.0) -> SVD:
    """Return the `rank` largest singular triples of an m×n matrix; fewer where directions fall below EPSILON·σ₁.

    `floor` drops singular values up to it as well, for a matrix that is a difference and may be noise as a whole.
    Signs are LAPACK's, and vectors of equal singular values are any basis of their space.
    """
    with one_thread:
        if matrix.shape[0] > matrix.shape[1]:
            v, s = _left_vectors(matrix.T, rank, floor)
            return SVD((matrix @ v) / s, s, v)
        u, s = _left_vectors(matrix, rank, floor)
        return SVD(u, s, (matrix.T @ u) / s)


def left_singular_vectors(blocks: Sequence[torch.Tensor]) -> tuple[Matrix, Matrix]:
    """Return the left singular vectors (m, k) and singular values (k,) of [A_1 A_2 …], m×n matrices side by side.

    The wide matrix is never formed; directions below EPSILON·σ₁ are dropped.
    """
    rows, columns = blocks[0].shape[0], sum(block.shape[1] for block in blocks)
    with one_thread:
        if columns < rows:
            u, s, _ = truncated_svd(np.concatenate([as_matrix(block) for block in blocks], axis=1), columns)
            return u, s
        gram = np.zeros((rows, rows))
        for matrix in map(as_matrix, blocks):
            gram += matrix @ matrix.T
        return _leading(gram, rows, 0.0)


def polar_factor(matrix: Matrix) -> tuple[Matrix, float]:
    """Return the orthogonal polar factor UVᵀ of an m×n matrix, and its nuclear norm Σσ.

    Directions below EPSILON·σ₁ are left out of both. The factor of a zero matrix is zero.
    """
    with one_thread:
        tall = matrix.shape[0] > matrix.shape[1]
        u, s = _left_vectors(matrix.T if tall else matrix, min(matrix.shape))
        half = u / np.sqrt(s)
        root = half @ half.T
        return (matrix @ root if tall else root @ matrix), float(s.sum())


def orthogonalised_product(u: Matrix, s: Matrix, v: Matrix) -> Matrix:
    """Return U⊥ diag(s) V⊥ᵀ for u (m, p), s (p,), v (n, p), where ⊥ marks the polar factor.

    The two factors are never formed: U⊥ = u·(uᵀu)^(−1/2), so the middle of the product is p×p.
    """
    with one_thread:
        middle = (_inverse_root(u) * s) @ _inverse_root(v)
        if len(u) <= len(v):
            return np.asarray((u @ middle) @ v.T)
        return np.asarray(u @ (middle @ v.T))


def _inverse_root(matrix: Matrix) -> Matrix:
    """Return (AᵀA)^(−1/2) of an m×p matrix A, on the row space of A."""
    w, s = _left_vectors(matrix.T, matrix.shape[1])
    half = w / np.sqrt(s)
    return np.asarray(half @ half.T)


def _left_vectors(matrix: Matrix, rank: int, floor: float = 0.0) -> tuple[Matrix, Matrix]:
    """Return the left singular vectors (m, k) and singular values (k,) of the `rank` largest, descending."""
    return _leading(matrix @ matrix.T, rank, floor)


def _leading(gram: Matrix, rank: int, floor: float) -> tuple[Matrix, Matrix]:
    """Return the leading eigenvectors of a Gram matrix and the roots of their eigenvalues, descending."""
    found = _few_eigenvectors(gram, rank) if 2 * rank <= len(gram) else None
    values, vectors = np.linalg.eigh(gram) if found is None else found
    s = np.sqrt(np.maximum(values[::-1], 0.0))[:rank]
    kept = int(np.count_nonzero(s > max(EPSILON * s[0], floor))) if len(s) else 0
    return np.ascontiguousarray(vectors[:, ::-1][:, :kept]), s[:kept]


def _few_eigenvectors(gram: Matrix, count: int) -> tuple[Matrix, Matrix] | None:
    """Return the `count` largest eigenvalues, ascending, with their eigenvectors; None where LAPACK does not converge.

    The steps of a full decomposition (dsytrd, dstemr, dormqr), but only these vectors are computed and turned back:
    little more than half the work for an eighth of them. `scipy.linalg.eigh(subset_by_index=…)` chooses a slower way.
    """
    n = len(gram)
    if n < 2 or count < 1:
        return None
    reflectors, diagonal, off_diagonal, tau, failed = lapack.dsytrd(gram, lower=1, lwork=64 * n)
    if failed:
        return None
    beside = np.append(off_diagonal, 0.0)
    _, values, vectors, failed = lapack.dstemr(diagonal, beside, 2, 0.0, 0.0, n - count + 1, n)
    if failed:
        return None
    vectors = np.asfortranarray(vectors[:, :count])
    # The first reflector acts on the second row.
    inner = np.asfortranarray(vectors[1:])
    vectors[1:], _, failed = lapack.dormqr("L", "N", reflectors[1:, :-1], tau, inner, lwork=64 * count)
    return None if failed else (values[:count], vectors)
