"""What a merging method is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.task_vectors import Layer

Walk = Callable[[], Iterator[Layer]]


@dataclass(frozen=True)
class Method:
    """A merging method: θ_m = θ₀ + scale · direction(τ_1 … τ_T).

    `direction` maps one Layer to the merged task vector of that tensor (same shape), given the declared
    hyperparameters other than `scale` by keyword. A method that needs a global statistic also has `gather`, called
    first with a function that walks all layers anew at each call; its result reaches `direction` as `gathered`. A
    method that draws at random takes `seed`.

    `weighted` says that per-task coefficients make sense: coefficient c_t replaces τ_t by c_t·τ_t. `experts` is the
    smallest and largest number of experts the method can merge.
    """

    name: str
    title: str
    summary: str
    formula: str
    reference: str
    direction: Callable[..., torch.Tensor]
    hyperparameters: tuple[Hyperparameter, ...] = ()
    gather: Callable[..., Any] | None = None
    weighted: bool = True
    seeded: bool = False
    experts: tuple[int, int | None] = (1, None)


def scale(default: float, *, sweep: tuple[float, float] = (0.1, 1.0)) -> Hyperparameter:
    """Declare λ, the factor of the merged task vector; `merge` applies it, so a method never sees it."""
    return Hyperparameter(
        "scale", "λ, the factor of the merged task vector", default, -10.0, 10.0, sweep=sweep, step=0.05
    )
