"""Divergences between classifiers' outputs, and intervals for what is estimated from images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

FloatArray = npt.NDArray[np.floating]

Z_95 = 1.959963984540054  # 97.5 % quantile of the standard normal


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


def kl_divergence(reference_logits: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return KL( softmax reference ‖ softmax logits ) of each row, in nats.

    Both arguments have shape (…, classes); the result has shape (…).
    """
    reference = torch.log_softmax(reference_logits, dim=-1)
    return (reference.exp() * (reference - torch.log_softmax(logits, dim=-1))).sum(dim=-1)


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


def frechet_distance(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> float:
    """Return the Fréchet distance of the normal distributions fitted to two samples, (n, d) and (m, d).

    ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½), as in Heusel et al. 2017 (arXiv 1706.08500). Raises ValueError when a sample
    has fewer than two rows or the widths differ.
    """
    if len(first) < 2 or len(second) < 2 or first.shape[1:] != second.shape[1:]:
        raise ValueError(
            f"expected two samples of equal width and at least two rows, found {first.shape}, {second.shape}"
        )
    means = [sample.mean(axis=0, dtype=np.float64) for sample in (first, second)]
    one, other = (np.atleast_2d(np.cov(sample, rowvar=False, dtype=np.float64)) for sample in (first, second))
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    # (Σ₁Σ₂)^½ has the trace of (Σ₁^½ Σ₂ Σ₁^½)^½, which is symmetric.
    cross = np.sqrt(np.linalg.eigvalsh(root @ other @ root).clip(min=0)).sum()
    return float(((means[0] - means[1]) ** 2).sum() + np.trace(one) + np.trace(other) - 2 * cross)
