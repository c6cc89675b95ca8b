"""WUDI-Merging: look for the matrix that interferes least with the experts' own input spaces."""

from __future__ import annotations

import torch

from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging.lines import block_index
from ri_analysis.merging.method import Method, scale
from ri_analysis.task_vectors import Layer

_BETAS, _TINY = (0.9, 0.999), 1e-8


def minimise_interference(layer: Layer, *, steps: int, learning_rate: float) -> torch.Tensor:
    """Return M after `steps` of Adam on Σ_t ‖(M − τ_t)τ_tᵀ‖²_F / ‖τ_t‖²_F, from M = Στ.

    Only the weight matrices of attention and MLP are merged; everything else stays pretrained. With
    A = Σ τ_tᵀτ_t/‖τ_t‖² and B = Σ τ_tτ_tᵀτ_t/‖τ_t‖² the gradient is 2(MA − B), so a step costs one product whatever T
    is. Experts equal to the pretrained model take no part. The result is that of the given number of steps, not
    the minimum. A, B and the gradient at Στ are float64; the way M moves from there, which is small, is float32.
    """
    if not is_linear_weight(layer):
        return torch.zeros_like(layer.pretrained)
    width = layer.pretrained.shape[1]
    a = torch.zeros(width, width, dtype=torch.float64)
    b = torch.zeros_like(layer.pretrained, dtype=torch.float64)
    for delta in map(torch.Tensor.double, layer.each()):
        if norm := float(delta.square().sum()):
            a += delta.T @ delta / norm
            b += delta @ (delta.T @ delta) / norm if len(delta) > width else (delta @ delta.T) @ delta / norm
    total = layer.sum()
    return (total + way_of_adam((total @ a - b).float(), a.float(), steps, learning_rate)).float()


def is_linear_weight(layer: Layer) -> bool:
    """Whether the tensor is a weight matrix of a block's attention or MLP."""
    name = layer.name
    return layer.is_matrix and block_index(name) is not None and (".attn." in name or ".mlp." in name)


def way_of_adam(start: torch.Tensor, a: torch.Tensor, steps: int, learning_rate: float) -> torch.Tensor:
    """Return the way D that Adam goes in some steps with gradient 2(G + DA), G the gradient's half at the start."""
    way, mean, square, gradient, root = (torch.zeros_like(start) for _ in range(5))
    for step in range(1, steps + 1):
        torch.addmm(start, way, a, beta=2.0, alpha=2.0, out=gradient)
        mean.lerp_(gradient, 1 - _BETAS[0])
        square.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        torch.div(square, 1 - _BETAS[1] ** step, out=root).sqrt_().add_(_TINY)
        way.addcdiv_(mean, root, value=-learning_rate / (1 - _BETAS[0] ** step))
    return way


METHOD = Method(
    name="wudi",
    title="WUDI-Merging",
    summary="Adjusts the summed task vector of every attention and MLP weight by gradient steps, without data, so that "
    "it interferes least with each expert on the inputs that the expert's own task vector responds to.",
    formula=r"\theta_m = \theta_0 + \lambda M,\quad M \approx \arg\min_M \sum_t "
    r"\frac{\|(M - \tau_t)\,\tau_t^\top\|_F^2}{\|\tau_t\|_F^2}",
    reference="Cheng et al. 2025, Whoever started the interference should end it (WUDI), arXiv 2503.08099",
    direction=minimise_interference,
    weighted=False,
    hyperparameters=(
        scale(1.0, sweep=(0.2, 2.0)),
        Hyperparameter(
            "steps",
            "gradient steps for each weight matrix",
            300,
            0,
            10000,
            sweep=(100, 400),
            step=50,
            label="gradient steps",
            unit="gradient steps",
        ),
        Hyperparameter("learning_rate", "learning rate of Adam", 1e-5, 0.0, 1.0, sweep=(1e-6, 1e-3), log=True),
    ),
)
