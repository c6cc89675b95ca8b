"""The weight of a classifier in a checkpoint."""

from __future__ import annotations

import torch

from ri_analysis.checkpoints.reader import Checkpoint
from ri_analysis.errors import InputError, listing


def classifier_weight(checkpoint: Checkpoint) -> torch.Tensor:
    """Return a linear classifier's weight (classes, width): the one tensor called `weight`, or the only one there is.

    Raises InputError where there is none or several, for tensors that are no part of a linear layer, and for a weight
    that is no matrix.
    """
    tensors, path = checkpoint.tensors, checkpoint.path
    weights = [key for key in tensors if _last(key) == "weight"] or (list(tensors) if len(tensors) == 1 else [])
    if not weights:
        raise InputError(f"{path}: expected a tensor 'weight', found {listing(list(tensors), 5) or 'no tensors'}")
    others = [key for key in tensors if key not in weights and _last(key) != "bias"]
    if weights[1:] or others:
        raise InputError(
            f"{path}: expected one head, a tensor 'weight' alone or with a bias of zeros, found "
            f"{listing([*weights, *others], 5)}; write the head to a file of its own"
        )
    weight = tensors[weights[0]]
    if weight.ndim != 2 or weight.numel() == 0:
        raise InputError(f"{path}: 'weight' must have shape (classes, width), found {tuple(weight.shape)}")
    return weight


def _last(key: str) -> str:
    return key.rpartition(".")[2]
