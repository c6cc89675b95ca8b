"""How many images of a batch go through the tower at once, so that what backpropagation holds fits a budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ri_analysis.encoder import Encoder
from ri_analysis.memory import bytes_held
from ri_analysis.training.start import Start

_LEAST = 4  # images at once; below, computing inner values twice costs less than so many small products


def images_at_once(encoder: Encoder, start: Start, fetched: Any, budget: float) -> tuple[int, bool]:
    """Return how many images of the batch `fetched` fit `budget` bytes, and whether its blocks must be recomputed.

    The weights to train require gradients.
    """
    size = len(fetched)
    inner, entering = (_bytes_per_image(count, encoder, start, fetched) for count in (_inner, _entering))
    if inner * size <= budget:
        return size, False
    fits = int(budget // inner)
    if fits >= min(_LEAST, size) or not encoder.in_halves:
        return max(1, fits), False
    # Recomputed, a block's inner values are there for one block at a time.
    lean = entering + inner / max(1, len(encoder.blocks))
    return min(size, max(1, int(budget // lean))), True


def bytes_per_image(encoder: Encoder, start: Start, fetched: Any) -> int:
    """Return the bytes that backpropagation holds of an image; the weights to train require gradients."""
    return _bytes_per_image(_inner, encoder, start, fetched)


def _bytes_per_image(
    count: Callable[[Encoder, Callable[[], torch.Tensor]], int], encoder: Encoder, start: Start, fetched: Any
) -> int:
    # Of two images less that of one: weights in another number format are held once a pass.
    one, two = (count(encoder, lambda n=n: start.forward(fetched[:n])) for n in (1, 2))  # type: ignore[misc]
    return max(1, two - one if len(fetched) > 1 else one)


def _inner(encoder: Encoder, forward: Callable[[], torch.Tensor]) -> int:
    return bytes_held(encoder.module, forward)


def _entering(encoder: Encoder, forward: Callable[[], torch.Tensor]) -> int:
    """Return the bytes that enter the blocks of a forward pass."""
    sizes = list[int]()
    hooks = [
        block.register_forward_pre_hook(lambda _block, inputs: sizes.append(inputs[0].nbytes))
        for block in encoder.blocks
    ]
    try:
        with torch.no_grad():
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    return sum(sizes)
