"""Fisher merging: average the experts, each weight by how much its expert's predictions depend on it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import torch

from ri_analysis.merging.averaging import average
from ri_analysis.merging.method import IMAGES, Method, Observed, TaskStatistic, scale
from ri_analysis.merging.with_data.gradients import trainable
from ri_analysis.suite import stratified
from ri_analysis.task_vectors import Layer


def diagonal_fisher(observed: Observed, *, images: int, seed: int) -> dict[str, torch.Tensor]:
    """Return the diagonal Fisher information of one expert, E_x E_{y~p(y|x)} (∂ log p(y|x)/∂θ)², per parameter.

    The expectation over y, which would take one gradient per class, is estimated without bias from one gradient per
    image: J = ∂logits/∂θ has the Fisher JᵀSSᵀJ with SSᵀ = diag(p) − ppᵀ, S = diag(√p)(I − √p√pᵀ), and the square
    of ε·SᵀJ has its diagonal as the mean over random signs ε.
    """
    (task,) = observed.vectors.tasks
    encoder, head, data = observed.encoder, observed.heads[task], observed.images[task]
    encoder.load((name, observed.vectors.expert(name, task)) for name in observed.vectors.names)
    rows, generator = stratified(None, len(data), images), torch.Generator().manual_seed(seed)
    with trainable(encoder) as parameters, ExitStack() as hooks:
        total = observed.zeros({name: parameter.shape for name, parameter in parameters.items()})
        for name, parameter in parameters.items():
            hook = parameter.register_post_accumulate_grad_hook(partial(_add_square, total[name]))  # type: ignore[no-untyped-call]
            hooks.callback(hook.remove)
        # One image at a time: the squares of the gradients do not add up over a batch.
        for number, row in enumerate(rows, 1):
            features = encoder.forward(encoder.preprocess(data.pixels([row], encoder.image_size)))
            logits = head.logits(features)
            signs = torch.randint(0, 2, logits.shape, generator=generator).mul_(2).sub_(1).to(logits)
            logits.backward(fisher_cotangent(logits, signs))  # type: ignore[no-untyped-call]
            observed.seen(number)
    return {name: square.div_(len(rows)).cpu() for name, square in total.items()}


def _add_square(total: torch.Tensor, parameter: torch.Tensor) -> None:
    """Add a gradient's square as soon as backward has it, and let it go: all of them are as large as the model."""
    if parameter.grad is not None:
        total.addcmul_(parameter.grad, parameter.grad)
        parameter.grad = None


def fisher_cotangent(logits: torch.Tensor, signs: torch.Tensor) -> torch.Tensor:
    """Return Sε of softmax probabilities p for signs ε, rows (n, classes): E[Sε(Sε)ᵀ] = diag(p) − ppᵀ."""
    root = logits.detach().softmax(dim=1).sqrt()
    return root * (signs - root * (root * signs).sum(dim=1, keepdim=True))


def average_by_fisher(layer: Layer, *, statistics: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return Σ_t F_t τ_t / Σ_t F_t of one layer; the mean where no expert's predictions depend on the weight."""
    if not statistics:
        return average(layer)
    weighted, weight = torch.zeros_like(layer.pretrained), torch.zeros_like(layer.pretrained)
    for fisher, delta in zip(statistics, layer.each(), strict=True):
        weighted.addcmul_(fisher, delta)
        weight += fisher
    return torch.where(weight > 0, weighted / weight, average(layer))


METHOD = Method(
    name="fisher",
    title="Fisher merging",
    summary="Averages the experts parameter by parameter, weighting each by its Fisher information: how strongly its "
    "predictions on images of its own task depend on the parameter.",
    formula=r"\theta_m = \theta_0 + \lambda\,\frac{\sum_t F_t \odot \tau_t}{\sum_t F_t},\quad F_t = "
    r"\mathbb{E}_{x\sim D_t}\,\mathbb{E}_{y\sim p_t(y|x)}\big(\nabla_{\theta_t}\log p_t(y|x)\big)^2",
    reference="Matena and Raffel 2022, Merging models with Fisher-weighted averaging, arXiv 2111.09832",
    direction=average_by_fisher,
    statistic=TaskStatistic(diagonal_fisher, lambda sizes, images: min(images, *sizes), options=("images",)),
    seeded=True,
    hyperparameters=(
        scale(1.0, sweep=(0.2, 3.0)),
        IMAGES,
    ),
)
