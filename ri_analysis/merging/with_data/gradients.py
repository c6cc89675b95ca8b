"""Gradients of the vision tower's weights under the names the model's tensors have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from ri_analysis.checkpoints.towers import PREFIX

if TYPE_CHECKING:
    from ri_analysis.encoder import Encoder


@contextmanager
def trainable(encoder: Encoder) -> Iterator[dict[str, torch.nn.Parameter]]:
    """Yield the tower's parameters by canonical name, with gradients on; they are off again, and gone, afterwards."""
    encoder.module.requires_grad_(True)
    try:
        yield {PREFIX + name: parameter for name, parameter in encoder.module.named_parameters()}
    finally:
        encoder.module.requires_grad_(False)
        encoder.module.zero_grad()
