"""95 % intervals of what is estimated from images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]

Z_95 = 1.959963984540054  # 97.5 % quantile of the standard normal


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval of a change excludes 0; see `clear`."""
        return bool(clear(self.low, self.high))


def clear(low: Any, high: Any) -> Any:
    """Return whether intervals (numbers, arrays or columns) exclude 0: only then is a change coloured or called one."""
    return (low > 0) | (high < 0)


def of_difference(first: Sequence[Any], second: Sequence[Any]) -> tuple[Any, Any]:
    """Return the ends of the interval of second − first from (value, low, high) of each (numbers or arrays).

    The method of variance estimates recovery (Zou & Donner 2008), for independent estimates: too wide rather than too
    narrow where both rest on the same images.
    """
    (one, one_low, one_high), (two, two_low, two_high) = first, second
    change = two - one
    low = change - np.sqrt((two - two_low) ** 2 + (one_high - one) ** 2)
    return low, change + np.sqrt((two_high - two) ** 2 + (one - one_low) ** 2)


def wilson(successes: float, n: int) -> Interval:
    """Return the Wilson score interval of a proportion (Wilson 1927), 95 %; successes may be a mean over several runs.

    Raises ValueError when n < 1 or successes is not in 0 … n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n and n >= 1, found {successes} of {n}")
    share = successes / n
    centre = share + Z_95**2 / (2 * n)
    spread = Z_95 * math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2))
    scale = 1 + Z_95**2 / n
    return Interval(max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))


def bootstrap_mean(samples: Sequence[FloatArray], *, seed: int = 0, resamples: int = 1000) -> Interval:
    """Return the 95 % percentile interval of the mean over groups of each group's mean.

    `samples` holds one array (n_g,) per group (task); images are resampled within their group, so the groups
    count equally and stay fixed, as in the benchmark's mean accuracy. Efron & Tibshirani 1993, chapter 13.
    Raises ValueError when there is no group or an empty one.
    """
    if not samples or any(len(group) == 0 for group in samples):
        raise ValueError("expected at least one group and no empty group")
    generator = np.random.default_rng(seed)
    means = sum(_resampled_means(np.asarray(group, np.float64), generator, resamples) for group in samples)
    low, high = np.quantile(means / len(samples), [0.025, 0.975])
    return Interval(float(low), float(high))


def _resampled_means(values: FloatArray, generator: np.random.Generator, resamples: int) -> npt.NDArray[np.float64]:
    means = np.empty(resamples)
    block = max(1, 1_000_000 // len(values))  # bounds memory to some 16 MB whatever n is
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        means[start : start + rows] = values[generator.integers(0, len(values), (rows, len(values)))].mean(axis=1)
    return means


def bootstrap_means(samples: Sequence[FloatArray], *, seed: int = 0, resamples: int = 1000) -> npt.NDArray[np.float64]:
    """Return `bootstrap_mean`'s intervals (m, 2) of m things that were measured on the same images.

    `samples` holds one array (m, n_g) per group. All things meet the resamples that each alone would meet, which are
    drawn once: hundreds take little longer than one. Raises ValueError when there is no group or an empty one.
    """
    if not samples or any(group.shape[1] == 0 for group in samples):
        raise ValueError("expected at least one group and no empty group")
    generator = np.random.default_rng(seed)
    means = sum(_resampled_means_of_many(np.asarray(group, np.float64), generator, resamples) for group in samples)
    return np.asarray(np.quantile(means / len(samples), [0.025, 0.975], axis=0).T)


def _resampled_means_of_many(
    values: FloatArray, generator: np.random.Generator, resamples: int
) -> npt.NDArray[np.float64]:
    """Return the means (resamples, m) of values (m, n), drawn in the same order as by `_resampled_means`."""
    n = values.shape[1]
    means = np.empty((resamples, len(values)))
    block = max(1, 1_000_000 // n)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = generator.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        means[start : start + rows] = counts.astype(np.float64) @ values.T / n
    return means


def normal_mean(samples: Sequence[npt.NDArray[Any]]) -> Interval:
    """Return the 95 % normal interval of the mean over groups of each group's mean: `bootstrap_mean`'s, without draws.

    Groups are strata: their variances of the mean add up (Cochran 1977, chapter 5). For the many points of a surface.
    Raises ValueError when there is no group or an empty one.
    """
    if not samples or any(len(group) == 0 for group in samples):
        raise ValueError("expected at least one group and no empty group")
    groups = [np.asarray(group, np.float64) for group in samples]
    mean = float(np.mean([group.mean() for group in groups]))
    spread = Z_95 * math.sqrt(sum(float(group.var()) / len(group) for group in groups)) / len(groups)
    return Interval(mean - spread, mean + spread)
