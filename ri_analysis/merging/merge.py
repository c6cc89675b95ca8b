"""Merge by a recipe: stream θ_m = θ₀ + λ·direction, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from ri_analysis.errors import InputError
from ri_analysis.hyperparameters import suggest
from ri_analysis.merging.lines import block_index, lines_factor
from ri_analysis.merging.method import Method, Statistics, Walk
from ri_analysis.merging.recipe import MergeRecipe
from ri_analysis.merging.registry import find_method
from ri_analysis.progress import Progress
from ri_analysis.task_vectors import Layer, TaskVectors


def merge(
    task_vectors: TaskVectors,
    recipe: MergeRecipe,
    *,
    statistics: Statistics | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every tensor of the merged model, in the model's order; integer buffers are the pretrained model's.

    `task_vectors` must hold the recipe's tasks of its expert set, `statistics` what the method has to know of
    images. `progress` is called with (tensors read, tensors to read over all passes) and may raise Cancelled. float32.
    Raises InputError for a task without an expert and for statistics that are missing.
    """
    vectors = _chosen(task_vectors, recipe)
    directions = direction(vectors, recipe, statistics=statistics, progress=progress)
    for name in vectors.names:
        if vectors.is_float(name):
            _, delta = next(directions)
            yield name, torch.add(vectors.pretrained(name), delta, alpha=recipe.scale, out=delta)
        else:
            yield name, vectors.pretrained(name)


def direction(
    task_vectors: TaskVectors,
    recipe: MergeRecipe,
    *,
    statistics: Statistics | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the merged task vector of every floating-point tensor, before λ: it is the same along all λ."""
    method = find_method(recipe.method)
    vectors = _chosen(task_vectors, recipe)
    floats = [name for name in vectors.names if vectors.is_float(name)]
    blocks = 1 + max((block for name in floats if (block := block_index(name)) is not None), default=-1)

    def walk() -> Iterator[Layer]:
        layers = vectors.walk(dict(recipe.coefficients))
        return map(Layer.apart, layers) if method.source else layers

    passes, options = _Passes(len(floats), method.passes, progress), _options(method, recipe)
    if method.gather is not None:
        options["gathered"] = method.gather(passes.counted(walk), **options)
    passes.gathered()
    for layer in walk():
        if method.statistic is not None:
            known = _known(statistics, recipe)(layer.name)
            options["statistics"] = [tensor.clone() for tensor in known] if method.source else known
        delta = method.direction(layer, **options)
        if method.source:
            delta = _own(delta, layer, method)
        if recipe.lines is not None:
            delta = delta * lines_factor(layer.name, blocks, *recipe.lines)
        passes.step()
        yield layer.name, delta


def _own(delta: object, layer: Layer, method: Method) -> torch.Tensor:
    """Return a plug-in's direction as float32 of its own: it may be a view of θ₀, and is added to in place."""
    if not isinstance(delta, torch.Tensor) or delta.shape != layer.pretrained.shape:
        found = f"shape {tuple(delta.shape)}" if isinstance(delta, torch.Tensor) else type(delta).__name__
        raise InputError(
            f"{method.name}: expected a tensor of shape {tuple(layer.pretrained.shape)} for {layer.name}, found {found}"
        )
    if delta.is_meta or delta.is_complex() or delta.layout != torch.strided:
        found = f"{delta.dtype}, {delta.layout}, on {delta.device}"
        raise InputError(f"{method.name}: expected a dense tensor of real numbers for {layer.name}, found {found}")
    return delta.detach().to(device=layer.pretrained.device, dtype=torch.float32, copy=True)


def _options(method: Method, recipe: MergeRecipe) -> dict[str, Any]:
    """Return what `method.direction` and `method.gather` take by keyword besides what is gathered."""
    spent = () if method.statistic is None else method.statistic.options
    options: dict[str, Any] = {key: value for key, value in recipe.settings.items() if key not in ("scale", *spent)}
    if method.seeded and method.statistic is None:
        options["seed"] = recipe.seed
    return options


def _known(statistics: Statistics | None, recipe: MergeRecipe) -> Statistics:
    if statistics is None:
        raise InputError(f"{recipe.method}: expected statistics of images, found none; merge through a suite")
    return statistics


class _Passes:
    """Counts the layers read over all passes of a merge; an unforeseen pass moves the end further away."""

    def __init__(self, layers: int, expected: int, progress: Progress | None) -> None:
        self._layers, self._progress = layers, progress
        self._done, self._total = 0, layers * (expected + 1)

    def counted(self, walk: Walk) -> Walk:
        """Return `walk` for gathering, counted."""

        def layers() -> Iterator[Layer]:
            self._total = max(self._total, self._done + 2 * self._layers)
            for layer in walk():
                yield layer
                self.step()

        return layers

    def gathered(self) -> None:
        """Say that only the merging pass is left."""
        self._total = self._done + self._layers

    def step(self) -> None:
        """Say that one more layer is done."""
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


def _chosen(task_vectors: TaskVectors, recipe: MergeRecipe) -> TaskVectors:
    for task in recipe.tasks:
        if task not in task_vectors.tasks:
            raise InputError(f"no expert for task {task!r}; {suggest(task, task_vectors.tasks)}")
    return task_vectors.select(recipe.tasks)
