"""The factorisations the SVD methods share, through the Gram matrix of the short side.

For a matrix A of m×n with r = min(m, n), one symmetric eigendecomposition of the r×r Gram matrix AAᵀ (AᵀA for a tall
A) gives the singular values and the short side's singular vectors; the long side's follow by one product. That is
two to four times cheaper than a full SVD of the same matrix and needs no transposition of wide matrices.

Accuracy: Gram matrices and singular vectors are float64, because a Gram matrix squares the condition number: a singular
direction with σ_i = ρ·σ₁ is known to about 1e-16/ρ², relative. Float32 experts carry noise of 6e-8·σ₁, so directions
below EPSILON·σ₁ are not the experts' own: they are dropped from every result here, which is also what makes the polar
factor of a rank-deficient matrix unique (the partial isometry onto its row space). Singular triples of full-rank random
matrices agree with torch.linalg.svd in float64 to 1e-9, relative, where no two singular values coincide. Polar
factors of matrices conditioned so well that a float32 Gram matrix does no harm (WELL_CONDITIONED) are computed in
float32, to 3e-6; all others agree to 1e-9, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import lapack  # type: ignore[import-untyped,unused-ignore]

from ri_analysis.threads import one_thread

Matrix = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]

EPSILON = 1e-6
_ORTHONORMAL = 1e-10
WELL_CONDITIONED = 5.0  # σ₁/σ_r up to which float32 costs a polar factor no more than 3e-6


class SVD(NamedTuple):
    """The leading singular triples of a matrix: u (m, k), s (k,) descending and positive, v (n, k)."""

    u: Matrix
    s: Matrix
    v: Matrix


def as_matrix(tensor: torch.Tensor) -> Matrix:
    """Return a 2-D tensor as a float64 NumPy matrix."""
    return np.asarray(tensor.double().numpy())


def as_single(tensor: torch.Tensor) -> Single:
    """Return a 2-D tensor as a float32 NumPy matrix."""
    return np.asarray(tensor.float().numpy())


def as_tensor(matrix: Matrix | Single) -> torch.Tensor:
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


def truncated_svd_outside(matrix: Matrix, basis: Matrix, rank: int, floor: float) -> SVD:
    """Return the `rank` largest singular triples of A − QQᵀA for a tall m×n matrix A and orthonormal Q (m, q).

    The difference is never formed: its Gram matrix is AᵀA − (QᵀA)ᵀ(QᵀA). `floor` as in `truncated_svd`.
    """
    with one_thread:
        inside = basis.T @ matrix
        v, s = _leading(matrix.T @ matrix - inside.T @ inside, rank, floor)
        return SVD((matrix @ v - basis @ (inside @ v)) / s, s, v)


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


def polar_factor(matrix: Matrix | Single) -> tuple[Matrix | Single, float]:
    """Return the orthogonal polar factor UVᵀ of an m×n matrix, and its nuclear norm Σσ.

    Directions below EPSILON·σ₁ are left out of both. The factor of a zero matrix is zero.
    """
    with one_thread:
        tall = matrix.shape[0] > matrix.shape[1]
        root, s = _inverse_root(matrix.T if tall else matrix)
        same: Any = matrix.astype(root.dtype, copy=False)
        return (same @ root if tall else root @ same), float(s.sum())


def orthogonalised_product(u: Matrix, s: Matrix, v: Matrix) -> Matrix | Single:
    """Return U⊥ diag(s) V⊥ᵀ for u (m, p), s (p,), v (n, p), where ⊥ marks the polar factor.

    The two factors are never formed: U⊥ = u·(uᵀu)^(−1/2), so the middle of the product is p×p.
    """
    with one_thread:
        left, right = _inverse_root(u.T)[0], _inverse_root(v.T)[0]
        return _product(u, (left * s) @ right, v, left.dtype, right.dtype)


def orthonormalised_product(u: Matrix, v: Matrix) -> Matrix | Single:
    """Return u·V⊥ᵀ for u (m, p) with orthonormal columns of any length and v (n, p); V⊥ is the polar factor of v."""
    with one_thread:
        root = _inverse_root(v.T)[0]
        return _product(u, root, v, np.dtype(np.float32), root.dtype)


def orthonormalised(matrix: Matrix) -> Matrix:
    """Return the polar factor of an m×p matrix, p ≤ m."""
    with one_thread:
        return np.asarray(matrix @ _inverse_root(matrix.T)[0])


def _product(
    u: Matrix, middle: Matrix | Single, v: Matrix, left: np.dtype[Any], right: np.dtype[Any]
) -> Matrix | Single:
    """Return u·middle·vᵀ, where `left` and `right` are precise enough for a product with u and with v."""
    if len(u) <= len(v):
        return np.asarray((u @ middle).astype(right) @ v.T.astype(right))
    return np.asarray(u.astype(left) @ (middle @ v.T).astype(left))


def _inverse_root(matrix: Matrix | Single) -> tuple[Matrix | Single, Matrix | Single]:
    """Return (AAᵀ)^(−1/2) of an r×n matrix A, on the column space of A, and A's singular values."""
    found = _well_conditioned_left_vectors(matrix.astype(np.float32, copy=False))
    u, s = _left_vectors(matrix.astype(np.float64, copy=False), len(matrix)) if found is None else found
    half = u / np.sqrt(s)
    return np.asarray(half @ half.T), s


def _well_conditioned_left_vectors(matrix: Single) -> tuple[Single, Single] | None:
    """Return the left singular vectors and singular values in float32; None where that is not exact enough.

    A Cholesky factorisation, whose smallest pivot bounds σ_r² from above, turns most other matrices away at once.
    """
    gram = matrix @ matrix.T
    limit = gram.diagonal().max(initial=0.0) / WELL_CONDITIONED**2
    factor, failed = lapack.spotrf(gram, lower=1)
    if failed or not len(gram) or factor.diagonal().min() ** 2 < limit:
        return None
    values, vectors = _eigenvectors(gram)
    if values[0] * WELL_CONDITIONED**2 < values[-1]:
        return None
    return vectors, np.sqrt(values)


def _left_vectors(matrix: Matrix, rank: int, floor: float = 0.0) -> tuple[Matrix, Matrix]:
    """Return the left singular vectors (m, k) and singular values (k,) of the `rank` largest, descending."""
    return _leading(matrix @ matrix.T, rank, floor)


def _leading(gram: Matrix, rank: int, floor: float) -> tuple[Matrix, Matrix]:
    """Return the leading eigenvectors of a Gram matrix and the roots of their eigenvalues, descending."""
    found = _few_eigenvectors(gram, rank) if 2 * rank <= len(gram) else None
    values, vectors = _eigenvectors(gram) if found is None else found
    s = np.sqrt(np.maximum(values[::-1], 0.0))[:rank]
    kept = int(np.count_nonzero(s > max(EPSILON * s[0], floor))) if len(s) else 0
    return np.ascontiguousarray(vectors[:, ::-1][:, :kept]), s[:kept]


def _eigenvectors(gram: Any) -> tuple[Any, Any]:
    """Return all eigenvalues, ascending, with their eigenvectors; torch's LAPACK is mostly quicker than NumPy's."""
    values, vectors = torch.linalg.eigh(torch.from_numpy(gram))
    return values.numpy(), vectors.numpy()


def _few_eigenvectors(gram: Matrix, count: int) -> tuple[Matrix, Matrix] | None:
    """Return the `count` largest eigenvalues, ascending, with their eigenvectors; None where LAPACK finds none.

    The steps of a full decomposition (dsytrd, dsterf, dstein, dormqr), but only these vectors are computed and turned
    back: half the work for an eighth of them. `scipy.linalg.eigh(subset_by_index=…)` chooses a slower way.
    """
    n = len(gram)
    if n < 2 or count < 1:
        return None
    reflectors, diagonal, off_diagonal, tau, failed = lapack.dsytrd(gram, lower=1, lwork=64 * n)
    if failed:
        return None
    values, failed = lapack.dsterf(diagonal, off_diagonal)
    if failed:
        return None
    whole = np.ones(n, dtype=np.int32), np.full(n, n, dtype=np.int32)  # one block, not split
    vectors, failed = lapack.dstein(diagonal, off_diagonal, values[n - count :], *whole)
    if failed or not np.abs(vectors.T @ vectors - np.eye(count)).max() <= _ORTHONORMAL:  # NaN is neither
        return None
    # The first reflector acts on the second row.
    inner = np.asfortranarray(vectors[1:])
    vectors[1:], _, failed = lapack.dormqr("L", "N", reflectors[1:, :-1], tau, inner, lwork=64 * count)
    return None if failed else (values[n - count :], vectors)
