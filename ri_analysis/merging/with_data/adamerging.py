"""AdaMerging: learn the coefficients under which the merged model's predictions on task images are most certain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.memory import budget, bytes_held, fitting
from ri_analysis.merging.method import Method, Observed, TaskStatistic, scale
from ri_analysis.merging.with_data.gradients import trainable
from ri_analysis.task_vectors import Layer, TaskVectors

if TYPE_CHECKING:
    from ri_analysis.encoder import Encoder
    from ri_analysis.suite import ImageSet
    from ri_analysis.suite.images import Indices

Losses = Callable[[str, torch.Tensor], torch.Tensor]
"""What the loaded model loses on a task's images, given as the tower's inputs: one number for each, differentiable."""

# Weights times images that backward keeps the activations of: one image of a ViT-L/14, three of a ViT-B/32.
_AT_ONCE = 1 << 28


def learn_coefficients(
    observed: Observed, *, per: str, start: float, steps: int, learning_rate: float, batch: int, seed: int
) -> dict[str, torch.Tensor]:
    """Return the coefficients under which the merged model's predictions are most certain; see `descend`.

    Minimised is Σ_t E_{x~D_t} H(softmax h_t f(x; θ₀ + Στ_tλ_t)), the entropy of the merged model's predictions.
    """

    def entropies(task: str, inputs: torch.Tensor) -> torch.Tensor:
        return _entropies(observed.heads[task].logits(observed.encoder.forward(inputs)))

    options: dict[str, Any] = {"per": per, "start": start, "steps": steps, "learning_rate": learning_rate}
    return descend(observed, entropies, batch=batch, seed=seed, **options)


def descend(
    observed: Observed,
    losses: Losses,
    *,
    per: str,
    start: float,
    steps: int,
    learning_rate: float,
    batch: int,
    seed: int,
) -> dict[str, torch.Tensor]:
    """Return the coefficients λ (T,) of every floating-point tensor after `steps` of Adam, kept within [0, 1].

    Minimised is Σ_t E_{x~D_t} of the losses of the model θ₀ + Στ_tλ_t, on `batch` images of every task a step. A
    coefficient's gradient is the inner product of the model's gradient with the
    task vector, so that task vectors are walked twice a step and never held.
    """
    vectors, encoder = observed.vectors, observed.encoder
    names = [name for name in vectors.names if vectors.is_float(name)]
    rows = {name: number if per == "tensor" else 0 for number, name in enumerate(names)}
    coefficients = torch.full((1 + max(rows.values()), len(vectors.tasks)), start)
    optimizer = torch.optim.Adam([coefficients], lr=learning_rate)
    with trainable(encoder) as parameters:
        for name, zeros in observed.zeros({name: item.shape for name, item in parameters.items()}).items():
            parameters[name].grad = zeros  # backward adds to what is there
        for step in range(steps):
            encoder.load(_merged(vectors, coefficients, rows))
            encoder.module.zero_grad(set_to_none=False)
            for place, task in enumerate(vectors.tasks):
                _backpropagate(observed, losses, task, batch, [seed, step, place])
            coefficients.grad = torch.zeros_like(coefficients)
            for layer in vectors.walk():
                coefficients.grad[rows[layer.name]] += _slopes(layer, parameters)
            optimizer.step()
            coefficients.clamp_(0.0, 1.0)
            observed.seen(images_seen([len(data) for data in observed.images.values()], steps=step + 1, batch=batch))
    return {name: coefficients[row].clone() for name, row in rows.items()}


def _merged(
    vectors: TaskVectors, coefficients: torch.Tensor, rows: Mapping[str, int]
) -> Iterator[tuple[str, torch.Tensor]]:
    for name in vectors.names:
        if name in rows:
            layer = vectors.layer(name)
            yield name, layer.pretrained + add_up(layer, statistics=coefficients[rows[name]].unbind())
        else:
            yield name, vectors.pretrained(name)


def _backpropagate(observed: Observed, losses: Losses, task: str, batch: int, seed: Sequence[int]) -> None:
    """Add to the gradients that of the loaded model's mean loss on `batch` images of a task."""
    encoder, data = observed.encoder, observed.images[task]
    drawn = np.random.default_rng(seed).choice(len(data), min(batch, len(data)), replace=False)
    size = max(1, _AT_ONCE // sum(parameter.numel() for parameter in encoder.module.parameters()))
    if size > 1 and budget() is not None:
        size = fitting(size, bytes_held(encoder.module, lambda: losses(task, _inputs(encoder, data, drawn[:1]))))
    for start in range(0, len(drawn), size):
        loss = losses(task, _inputs(encoder, data, drawn[start : start + size])).sum() / len(drawn)
        loss.backward()  # type: ignore[no-untyped-call]


def _inputs(encoder: Encoder, data: ImageSet, rows: Indices) -> torch.Tensor:
    return encoder.preprocess(data.pixels(rows, encoder.image_size))


def _entropies(logits: torch.Tensor) -> torch.Tensor:
    """Return the entropy of each row of predictions (n, classes), in nats."""
    logs = logits.log_softmax(dim=1)
    return -(logs.exp() * logs).sum(dim=1)


def _slopes(layer: Layer, parameters: Mapping[str, torch.nn.Parameter]) -> torch.Tensor:
    """Return the inner product of every task vector with the loss's gradient, (T,); 0 for what is no parameter."""
    parameter = parameters.get(layer.name)
    if parameter is None or parameter.grad is None:
        return torch.zeros(layer.count)
    gradient = parameter.grad.cpu().flatten()
    return torch.stack([delta.flatten() @ gradient for delta in layer.each()])


def images_seen(sizes: Sequence[int], *, steps: int, batch: int, **_: object) -> int:
    """Return how many images `steps` of training see, given the sizes of the tasks' image sets."""
    return steps * sum(min(batch, size) for size in sizes)


def add_up(layer: Layer, *, statistics: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return Σ_t λ_t τ_t of one layer for its learned coefficients."""
    total = torch.zeros_like(layer.pretrained)
    for coefficient, delta in zip(statistics, layer.each(), strict=True):
        total.add_(delta, alpha=float(coefficient))
    return total


DESCENT = (
    Hyperparameter(
        "per",
        "one coefficient for each expert and tensor, or one for each expert",
        "tensor",
        choices=("tensor", "model"),
        titles=("a coefficient per expert and tensor", "a coefficient per expert"),
        label="coefficients",
    ),
    Hyperparameter(
        "start", "value from which all coefficients start", 0.3, 0.0, 1.0, step=0.05, label="initial coefficient"
    ),
    Hyperparameter(
        "steps",
        "gradient steps (AdaMerging's authors take 500 at a learning rate of 0.001)",
        100,
        0,
        100_000,
        sweep=(50, 500),
        step=50,
        label="gradient steps",
        unit="gradient steps",
    ),
    Hyperparameter("learning_rate", "learning rate of Adam", 1e-2, 0.0, 1.0, sweep=(1e-4, 1e-1), log=True),
    Hyperparameter(
        "batch",
        "images of each task in a step",
        16,
        1,
        4096,
        sweep=(4, 64),
        log=True,
        label="images per task and step",
        unit="images",
    ),
)

METHOD = Method(
    name="adamerging",
    title="AdaMerging",
    summary="Learns one coefficient for each expert, or for each expert and tensor, that makes the merged model's "
    "predictions on unlabelled images of all tasks as certain as possible.",
    formula=r"\theta_m = \theta_0 + \lambda\sum_t \lambda_t\,\tau_t,\quad \lambda_1 \dots \lambda_T = "
    r"\arg\min \sum_t \mathbb{E}_{x\sim D_t} H\big(\operatorname{softmax} h_t f(x;\theta_m)\big)",
    reference="Yang et al. 2024, AdaMerging: adaptive model merging for multi-task learning, arXiv 2310.02575",
    direction=add_up,
    statistic=TaskStatistic(learn_coefficients, images_seen, options=tuple(item.name for item in DESCENT), joint=True),
    seeded=True,
    weighted=False,
    hyperparameters=(scale(1.0, sweep=(0.2, 2.0)), *DESCENT),
)
