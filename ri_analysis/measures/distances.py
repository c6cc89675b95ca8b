"""How far two models are apart on one image: the choice of distances behind every drift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ri_analysis.divergences import kl_divergence


@dataclass(frozen=True)
class Outputs:
    """What a model makes of n images of one task: unit `features` (n, embed_dim) and `logits` (n, classes)."""

    features: torch.Tensor
    logits: torch.Tensor

    @property
    def predicted(self) -> torch.Tensor:
        """The predicted classes, (n,) int64."""
        return self.logits.argmax(dim=-1)


@dataclass(frozen=True)
class Distance:
    """A distance of two models' outputs; `of(reference, other)` gives one value per image, (n,) ≥ 0."""

    name: str
    title: str
    unit: str
    meaning: str
    reference: str
    of: Callable[[Outputs, Outputs], torch.Tensor]


def js_divergence(logits: torch.Tensor, other_logits: torch.Tensor) -> torch.Tensor:
    """Return the Jensen-Shannon divergence of each row's softmax, in nats: symmetric, at most ln 2.

    Both arguments have shape (…, classes); the result has shape (…). Lin 1991.
    """
    first, second = torch.log_softmax(logits, dim=-1), torch.log_softmax(other_logits, dim=-1)
    middle = torch.logaddexp(first, second) - torch.log(torch.tensor(2.0, dtype=first.dtype))
    halves = [(side.exp() * (side - middle)).sum(dim=-1) for side in (first, second)]
    return 0.5 * (halves[0] + halves[1])


def _kl(expert: Outputs, merged: Outputs) -> torch.Tensor:
    return kl_divergence(expert.logits, merged.logits).clamp(min=0)


def _js(expert: Outputs, merged: Outputs) -> torch.Tensor:
    return js_divergence(expert.logits, merged.logits).clamp(min=0)


def _disagreement(expert: Outputs, merged: Outputs) -> torch.Tensor:
    return (expert.predicted != merged.predicted).float()


def _cosine(expert: Outputs, merged: Outputs) -> torch.Tensor:
    return (1 - torch.nn.functional.cosine_similarity(expert.features, merged.features, dim=-1)).clamp(min=0)


def _l1(expert: Outputs, merged: Outputs) -> torch.Tensor:
    return (expert.features - merged.features).abs().sum(dim=-1)


_ALL = (
    Distance(
        "kl",
        "KL divergence",
        "nats",
        "KL(expert ‖ merged) of the predicted probabilities: the paper's interference ξ.",
        "Ramesh et al. 2026, arXiv 2603.13467, section 3",
        _kl,
    ),
    Distance(
        "js",
        "Jensen-Shannon divergence",
        "nats",
        "Symmetric and at most ln 2 ≈ 0.69, so single images can not dominate.",
        "Lin 1991",
        _js,
    ),
    Distance(
        "disagreement",
        "Top-1 disagreement",
        "share of images",
        "Share of images for which the merged model predicts another class than the expert.",
        "Ortiz-Jimenez et al. 2023, arXiv 2305.12827, equation 5",
        _disagreement,
    ),
    Distance(
        "cosine",
        "1 − cosine of features",
        "1 − cosine",
        "Angle between the two feature vectors, before any head: 0 same direction, 1 at right angles.",
        "",
        _cosine,
    ),
    Distance(
        "l1",
        "L1 of features",
        "L1",
        "Sum of absolute differences of the unit feature vectors; Surgery's representation bias × the width.",
        "Yang et al. 2024, arXiv 2402.02705, section 3",
        _l1,
    ),
)

DISTANCES: dict[str, Distance] = {distance.name: distance for distance in _ALL}
