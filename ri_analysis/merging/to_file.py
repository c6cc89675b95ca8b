"""Merge by a recipe straight into a file: one layer of all experts in memory, the recipe in the metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from ri_analysis.checkpoints.writer import read_metadata, write_safetensors
from ri_analysis.errors import InputError, one_message
from ri_analysis.json_text import from_json, to_json
from ri_analysis.merging.merge import merge
from ri_analysis.merging.method import Statistics
from ri_analysis.merging.recipe import MergeRecipe
from ri_analysis.merging.registry import find_method
from ri_analysis.progress import Progress
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
        beside the recipe, with the merge's own digest, so that the file says what it was made of; it also says the
        digest of a plug-in's source.
    statistics: what the method has to know of task images.
    metadata: further entries for the metadata.
    dtype: what floating-point tensors are stored in; integer buffers keep theirs.
    progress: called with (tensors read, tensors to read over all passes) after every tensor; may raise Cancelled.

    The same recipe of the same weights gives the same bytes. Raises InputError for a tensor whose merged values
    are not finite as `dtype`, and for a file of weights that changes meanwhile.
    """
    vectors = task_vectors.select(recipe.tasks)
    layout = {name: _stored(vectors, name, dtype) for name in vectors.names}
    header = {"format": "pt", "recipe": to_json(recipe.to_dict()), **(metadata or {})}
    if source := find_method(recipe.method).source:
        header["plugin_source"] = source
    if ingredients is not None:
        used = {name: ingredients[name] for name in recipe.ingredients}
        header |= {"ingredients": to_json(used), "digest": recipe.digest(ingredients)}
    tensors = merge(vectors, recipe, statistics=statistics, progress=progress)
    write_safetensors(path, layout, _until_unchanged(tensors, vectors), header)


def recipe_of(path: Path) -> MergeRecipe:
    """Return the recipe that the merged file at `path` was made by. Raises InputError when it holds none."""
    text = read_metadata(path).get("recipe")
    if text is None:
        raise InputError(f"{path}: expected a merged model with its recipe in the metadata, found none")
    try:
        with one_message(path, "the recipe of a merge"):
            return MergeRecipe.from_dict(from_json(text))
    except InputError as error:
        raise InputError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error


def _stored(vectors: TaskVectors, name: str, dtype: torch.dtype) -> tuple[tuple[int, ...], torch.dtype]:
    return vectors.shape(name), dtype if vectors.is_float(name) else vectors.pretrained(name).dtype


def _until_unchanged(
    tensors: Iterator[tuple[str, torch.Tensor]], vectors: TaskVectors
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors, and end only where they were all made of the files as they were opened."""
    yield from tensors
    vectors.require_unchanged()
