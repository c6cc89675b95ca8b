"""The weight of a classifier in a checkpoint."""

from __future__ import annotations

import torch

from ri_analysis.checkpoints.reader import Checkpoint
from ri_analysis.errors import InputError


def classifier_weight(checkpoint: Checkpoint) -> torch.Tensor:
    """Return a linear classifier's weight (classes, width): the tensor `weight`, or the only one there is.

    Raises InputError where there is none, or none with two dimensions.
    """
    tensors = checkpoint.tensors
    weight = next((tensors[key] for key in tensors if key.rpartition(".")[2] == "weight"), None)
    if weight is None and len(tensors) == 1:
        weight = tensors[next(iter(tensors))]
    if weight is None:
        raise InputError(f"{checkpoint.path}: expected a tensor 'weight', found {', '.join(tensors) or 'no tensors'}")
    if weight.ndim != 2:
        raise InputError(f"{checkpoint.path}: 'weight' must have shape (classes, width), found {tuple(weight.shape)}")
    return weight
