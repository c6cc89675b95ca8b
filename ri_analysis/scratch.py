"""Tensors that lie in a file: memory which the system can write out and take back when it runs short."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

import numpy as np
import torch


def zeros_on_disk(shapes: Mapping[str, Sequence[int]], folder: Path) -> dict[str, torch.Tensor]:
    """Return float32 zeros of these shapes, mapped from one nameless file in `folder`, which goes with the tensors.

    What is never written takes no room. Raises OSError where the folder cannot hold such a file.
    """
    sizes = [prod(shape) for shape in shapes.values()]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        values = torch.from_numpy(np.memmap(file, np.float32, "w+", shape=(max(1, sum(sizes)),)))
    parts = torch.split(values[: sum(sizes)], sizes)
    return {name: part.view(tuple(shape)) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
