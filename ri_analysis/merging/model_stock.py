"""Model Stock: as far from the pretrained model towards the experts' mean as they agree, tensor by tensor."""

from __future__ import annotations

import torch

from ri_analysis.merging.averaging import average
from ri_analysis.merging.method import Method, scale
from ri_analysis.task_vectors import Layer
from ri_analysis.threads import one_thread


def go_towards_mean(layer: Layer) -> torch.Tensor:
    """Return t·Στ/T of one layer, t = T·cos θ / (1 + (T − 1)·cos θ), cos θ the mean cosine of two task vectors.

    An expert that leaves the tensor as it is has a cosine of 0 with every other. Where cos θ is negative, experts point
    away from each other and t would turn the merge away from their mean: the tensor stays pretrained.
    """
    return average(layer).mul_(_ratio(_mean_cosine(layer), layer.count))


def _ratio(cosine: float, count: int) -> float:
    return count * cosine / (1.0 + (count - 1) * cosine) if cosine > 0 else 0.0


def _mean_cosine(layer: Layer) -> float:
    """Return the mean cosine over all pairs of task vectors; inner products are summed in float64."""
    with one_thread:
        products = sum((piece.double() @ piece.double().T for piece in layer.pieces()), torch.zeros(()))
    norms = products.diagonal().sqrt()
    cosines = (products / torch.outer(norms, norms)).nan_to_num(0.0)
    return float(cosines.triu(1).sum()) / (layer.count * (layer.count - 1) / 2)


METHOD = Method(
    name="model-stock",
    title="Model Stock",
    summary="Moves each tensor from the pretrained model towards the experts' mean, the further the more their task "
    "vectors agree: all the way if they are parallel, not at all if orthogonal.",
    formula=r"\theta_m = \theta_0 + \lambda\, t\,\frac1T\sum_i \tau_i,\quad "
    r"t = \frac{T\cos\theta}{1 + (T-1)\cos\theta},\ \cos\theta = \binom{T}{2}^{-1} \sum_{i<j} \cos(\tau_i, \tau_j)",
    reference="Jang et al. 2024, Model Stock: all we need is just a few fine-tuned models, arXiv 2403.19522",
    direction=go_towards_mean,
    counts=(2, None),
    hyperparameters=(scale(1.0, sweep=(0.5, 8.0)),),
)
