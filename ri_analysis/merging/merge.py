"""Carry out a recipe: stream θ_m = θ₀ + λ·direction, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from ri_analysis.errors import InputError
from ri_analysis.hyperparameters import suggest
from ri_analysis.merging.lines import block_index, lines_factor
from ri_analysis.merging.recipe import MergeRecipe
from ri_analysis.merging.registry import find_method
from ri_analysis.task_vectors import Layer, TaskVectors


def merge(task_vectors: TaskVectors, recipe: MergeRecipe) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every tensor of the merged model, in the model's order; integer buffers are the pretrained model's.

    `task_vectors` must hold the recipe's tasks of its expert set. float32. Raises InputError for a task without an
    expert.
    """
    vectors = _chosen(task_vectors, recipe)
    directions = direction(vectors, recipe)
    for name in vectors.names:
        if vectors.is_float(name):
            _, delta = next(directions)
            yield name, vectors.pretrained(name).add(delta, alpha=recipe.scale)
        else:
            yield name, vectors.pretrained(name)


def direction(task_vectors: TaskVectors, recipe: MergeRecipe) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the merged task vector of every floating-point tensor, before λ: it is the same along all λ."""
    method = find_method(recipe.method)
    vectors = _chosen(task_vectors, recipe)
    coefficients = torch.tensor([dict(recipe.coefficients).get(task, 1.0) for task in recipe.tasks])
    blocks = 1 + max((block for name in vectors.names if (block := block_index(name)) is not None), default=-1)

    def walk() -> Iterator[Layer]:
        for layer in vectors.walk():
            if recipe.coefficients:
                layer.deltas.mul_(coefficients.view(-1, *[1] * layer.pretrained.ndim))
            yield layer

    options: dict[str, Any] = {key: value for key, value in recipe.settings.items() if key != "scale"}
    if method.seeded:
        options["seed"] = recipe.seed
    if method.gather is not None:
        options["gathered"] = method.gather(walk, **options)
    for layer in walk():
        delta = method.direction(layer, **options)
        if recipe.lines is not None:
            delta = delta * lines_factor(layer.name, blocks, *recipe.lines)
        yield layer.name, delta


def _chosen(task_vectors: TaskVectors, recipe: MergeRecipe) -> TaskVectors:
    for task in recipe.tasks:
        if task not in task_vectors.tasks:
            raise InputError(f"no expert for task {task!r}; {suggest(task, task_vectors.tasks)}")
    return task_vectors.select(recipe.tasks)
