"""Rank correlation of two quantities known for pairs of experts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.floating]


class Correlation(NamedTuple):
    """Spearman's ρ over n pairs, and how often chance alone gives one as far from zero."""

    rho: float
    chance: float
    n: int


def spearman(x: Matrix, y: Matrix) -> float:
    """Return Spearman's rank correlation of two samples (n,), ties sharing their mean rank; NaN without variation."""
    first, second = _ranks(x) - (len(x) - 1) / 2, _ranks(y) - (len(y) - 1) / 2
    size = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / size if size > 0 else float("nan")


def pair_correlation(x: Matrix, y: Matrix, *, seed: int = 0, permutations: int = 999) -> Correlation:
    """Return the rank correlation of two symmetric matrices (T, T) over the pairs of different rows.

    Pairs that share an expert are not independent, so chance is judged by relabelling whole experts (Mantel 1967). NaN
    with fewer than three pairs.
    """
    rows, columns = np.tril_indices(len(x), -1)
    if len(rows) < 3:
        return Correlation(float("nan"), float("nan"), len(rows))
    left, rho = np.asarray(x)[rows, columns], 0.0
    rho = spearman(left, np.asarray(y)[rows, columns])
    generator, reached = np.random.default_rng(seed), 1
    for _ in range(permutations):
        order = generator.permutation(len(x))
        reached += abs(spearman(left, np.asarray(y)[order][:, order][rows, columns])) >= abs(rho) - 1e-12
    return Correlation(rho, reached / (permutations + 1), len(rows))


def _ranks(values: Matrix) -> npt.NDArray[np.float64]:
    _, place, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts + 1) / 2)[place], dtype=np.float64)
