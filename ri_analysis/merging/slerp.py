"""SLERP: two experts, along the great circle between them."""

from __future__ import annotations

import torch

from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging.method import Method
from ri_analysis.merging.sphere import combination, inner_products
from ri_analysis.task_vectors import Layer

_PARALLEL = 1e-7  # below this sin ω the great circle and the straight line agree to 1e-14, or are not defined


def interpolate(layer: Layer, *, mix: float) -> torch.Tensor:
    """Return slerp(θ_1, θ_2; mix) − θ₀ of one layer.

    The weights are sin((1 − t)ω)/sin ω and sin(tω)/sin ω with ω the angle between the two tensors. Parallel tensors
    (to 1e-7), opposite ones (where every great circle is as good) and zero tensors are interpolated on the line.
    """
    products = inner_products(layer)
    norms = products.diagonal().sqrt()
    cosine = (products[0, 1] / (norms[0] * norms[1])).nan_to_num(1.0).clamp(-1.0, 1.0)
    angle = torch.arccos(cosine)
    ends = torch.tensor([1.0 - mix, mix], dtype=torch.float64)
    if norms.min() == 0 or torch.sin(angle) < _PARALLEL:
        return combination(layer, ends)
    return combination(layer, torch.sin(ends * angle) / torch.sin(angle))


METHOD = Method(
    name="slerp",
    title="SLERP",
    summary="Interpolates between two experts along an arc instead of a straight line, tensor by tensor.",
    formula=r"\theta_m = \frac{\sin((1-t)\,\omega)}{\sin\omega}\,\theta_1 + \frac{\sin(t\,\omega)}{\sin\omega}\,"
    r"\theta_2,\quad \omega = \angle(\theta_1, \theta_2)",
    reference="Shoemake 1985, Animating rotation with quaternion curves, doi 10.1145/325165.325242",
    direction=interpolate,
    weighted=False,
    counts=(2, 2),
    hyperparameters=(
        Hyperparameter("mix", "0 is the first expert, 1 the second", 0.5, 0.0, 1.0, step=0.05, label="interpolation t"),
    ),
)
