"""Divergences of distributions: classifiers' outputs, and samples of features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch


def kl_divergence(reference_logits: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return KL( softmax reference ‖ softmax logits ) of each row, in nats.

    Both arguments have shape (…, classes); the result has shape (…).
    """
    reference = torch.log_softmax(reference_logits, dim=-1)
    return (reference.exp() * (reference - torch.log_softmax(logits, dim=-1))).sum(dim=-1)


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
