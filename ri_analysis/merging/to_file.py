"""Carry out a recipe straight into a file: one layer of all experts in memory, the recipe in the metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from ri_analysis.checkpoints.writer import read_metadata, write_safetensors
from ri_analysis.errors import InputError
from ri_analysis.merging.merge import Progress, merge
from ri_analysis.merging.method import Statistics
from ri_analysis.merging.recipe import MergeRecipe
from ri_analysis.task_vectors import TaskVectors


def merge_to_file(
    task_vectors: TaskVectors,
    recipe: MergeRecipe,
    path: Path,
    *,
    ingredients: Mapping[str, str] | None = None,
    statistics: Statistics | None = None,
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
) -> None:
    """Write the merged model as safetensors, tensor by tensor; the file appears when it is whole.

    Parameters
    ----------
    ingredients: content digests of what the recipe is made of, see `MergeRecipe.ingredients`. They go into the metadata
        beside the recipe, with the merge's own digest, so that the file says what it was made of.
    statistics: what the method has to know of task images.
    metadata: further entries for the metadata.
    dtype: what floating-point tensors are stored in; integer buffers keep theirs.
    progress: called with (tensors read, tensors to read over all passes) after every tensor; may raise Cancelled.

    The same recipe of the same weights gives the same bytes. Raises InputError for a tensor whose merged values
    `dtype` cannot hold.
    """
    vectors = task_vectors.select(recipe.tasks)
    layout = {name: _stored(vectors, name, dtype) for name in vectors.names}
    header = {"format": "pt", "recipe": json.dumps(recipe.to_dict()), **(metadata or {})}
    if ingredients is not None:
        used = {name: ingredients[name] for name in recipe.ingredients}
        header |= {"ingredients": json.dumps(used), "digest": recipe.digest(ingredients)}
    tensors = merge(vectors, recipe, statistics=statistics, progress=progress)
    write_safetensors(path, layout, _checked(tensors, layout, path), header)


def recipe_of(path: Path) -> MergeRecipe:
    """Return the recipe that the merged file at `path` was made by. Raises InputError when it holds none."""
    text = read_metadata(path).get("recipe")
    if text is None:
        raise InputError(f"{path}: expected a merged model with its recipe in the metadata, found none")
    try:
        return MergeRecipe.from_dict(json.loads(text))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _stored(vectors: TaskVectors, name: str, dtype: torch.dtype) -> tuple[tuple[int, ...], torch.dtype]:
    return vectors.shape(name), dtype if vectors.is_float(name) else vectors.pretrained(name).dtype


def _checked(
    tensors: Iterator[tuple[str, torch.Tensor]],
    layout: Mapping[str, tuple[tuple[int, ...], torch.dtype]],
    path: Path,
) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in tensors:
        tensor = tensor.to(layout[name][1])
        # A finite sum means finite values and is far cheaper to take than looking at each; the converse need not hold.
        if tensor.is_floating_point() and not (torch.isfinite(tensor.sum()) or torch.isfinite(tensor).all()):
            raise InputError(f"{path}: tensor {name!r} of the merge has values that {tensor.dtype} cannot hold")
        yield name, tensor
