"""In which number format RI computes products: bfloat16 where a short trial says it is faster and agrees."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ri_analysis.encoder import Encoder
from ri_analysis.encoder.architecture import LARGE

CHOICES = ("auto", "float32", "bfloat16")
STEPS, BATCH = 3, 8  # of the trial
FASTER = 1.2  # times, at least
SHARE, LEAST = 0.02, 1e-3  # of a loss, and in its unit: how far the formats' losses may be apart


def decide(choice: str, encoder: Encoder, trial: Callable[[], tuple[list[float], float]]) -> str:
    """Return "float32" or "bfloat16": the format of a run whose setting is `choice`.

    `trial` takes a few steps from the same weights and images each time; it returns their losses, and the seconds of
    those after the first, which sets up what the others use.
    """
    if choice != "auto":
        return choice
    if sum(item.numel() for item in encoder.module.parameters()) < LARGE:
        return "float32"
    found = {}
    for precision in ("float32", "bfloat16"):
        encoder.autocast = autocast(precision)
        found[precision] = trial()
    (exact, slow), (quick, fast) = found.values()
    agree = all(abs(one - other) <= SHARE * abs(one) + LEAST for one, other in zip(exact, quick, strict=True))
    return "bfloat16" if agree and slow >= FASTER * fast else "float32"


def autocast(precision: str) -> torch.dtype | None:
    """Return the format of an encoder's products, None for that of its weights."""
    return torch.bfloat16 if precision == "bfloat16" else None
