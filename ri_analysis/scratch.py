"""Tensors that lie in a file: memory which the system can write out and take back when it runs short."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from math import ceil, prod
from pathlib import Path

import numpy as np
import torch

from ri_analysis.errors import InputError


def zeros_on_disk(shapes: Mapping[str, Sequence[int]], folder: Path) -> dict[str, torch.Tensor]:
    """Return float32 zeros of these shapes, mapped from one nameless file in `folder`, which goes with the tensors.

    Raises InputError where the folder has no room for it.
    """
    sizes = [prod(shape) for shape in shapes.values()]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        _reserve(file.fileno(), max(4, 4 * sum(sizes)), folder, "merging")
        values = torch.from_numpy(np.memmap(file, np.float32, "w+", shape=(max(1, sum(sizes)),)))
    parts = torch.split(values[: sum(sizes)], sizes)
    return {name: part.view(tuple(shape)) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def tensor_in_file(path: Path, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Return the tensor that the file at `path` holds, mapped; a file that is too short for it grows first.

    Raises InputError where the disk has no room for it.
    """
    size = prod(shape) * dtype.itemsize
    with path.open("ab") as file:
        if file.tell() < size:
            _reserve(file.fileno(), size, path.parent, "resolving")
            file.truncate(size)
    return torch.from_file(str(path), shared=True, size=prod(shape), dtype=dtype).view(tuple(shape))


def _reserve(file: int, size: int, folder: Path, doing: str) -> None:
    """Take the room now: a disk that is full when a mapped page is written ends the process without a word."""
    if not hasattr(os, "posix_fallocate"):  # macOS, Windows
        return
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        raise InputError(
            f"{folder}: expected room for {ceil(size / 2**20):,} MiB while {doing}, found: {error.strerror}"
        ) from error
