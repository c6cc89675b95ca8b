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


def pair_correlation(x: Matrix, y: Matrix, *, seed: int = 0, permutations: int = 999) -> Correlation:
    """Return the rank correlation of two symmetric matrices (T, T) over the pairs of different rows.

    Pairs that share an expert are not independent, so chance is judged by relabelling whole experts (Mantel 1967). NaN
    with fewer than three pairs, and where one of the two does not vary.
    """
    first, second = _pair_ranks(x), _pair_ranks(y)
    pairs, size = np.tril_indices(len(x), -1), np.sqrt((first**2).sum() * (second**2).sum()) / 2
    if len(pairs[0]) < 3 or not size:
        return Correlation(float("nan"), float("nan"), len(pairs[0]))
    left, generator, reached = first[pairs], np.random.default_rng(seed), 1
    rho = float(left @ second[pairs] / size)
    for _ in range(permutations):
        order = generator.permutation(len(x))
        reached += abs(left @ second[np.ix_(order, order)][pairs] / size) >= abs(rho) - 1e-12
    return Correlation(rho, reached / (permutations + 1), len(left))


def _pair_ranks(values: Matrix) -> Matrix:
    """Return each pair's rank less the mean rank, (T, T); ties share theirs, and there is 0 on the diagonal."""
    from scipy.stats import rankdata  # slow to import

    found, pairs = np.zeros(np.shape(values)), np.tril_indices(len(values), -1)
    found[pairs] = rankdata(np.asarray(values)[pairs]) - (len(pairs[0]) + 1) / 2
    return np.asarray(found + found.T)
