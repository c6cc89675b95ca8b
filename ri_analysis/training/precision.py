"""In which number format training computes products: bfloat16 where a short trial says it is faster and agrees."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from ri_analysis.encoder import Encoder, products
from ri_analysis.encoder.architecture import LARGE
from ri_analysis.suite import ImageSet

CHOICES = ("auto", "float32", "bfloat16")
STEPS, BATCH = 3, 32  # of the trial, at most
FASTER = 1.2  # times, at least
SHARE, LEAST = 0.02, 1e-3  # of a loss, and in its unit: how far the formats' losses may be apart


def decide(choice: str, encoder: Encoder, trial: Callable[[], tuple[list[float], float]]) -> str:
    """Return "float32" or "bfloat16": the format of a run whose setting is `choice`.

    `trial` takes a few steps from the same weights and images each time; it returns their losses, and the seconds of a
    step with those of a teacher's look at its images.
    """
    if choice != "auto":
        return choice
    if not _large(encoder):
        return "float32"
    found = {}
    for precision in ("float32", "bfloat16"):
        compute_in(precision, encoder)
        found[precision] = trial()
    (exact, slow), (quick, fast) = found.values()
    agree = all(abs(one - other) <= SHARE * abs(one) + LEAST for one, other in zip(exact, quick, strict=True))
    return "bfloat16" if agree and slow >= FASTER * fast else "float32"


def look(encoder: Encoder, images: ImageSet, count: int) -> float:
    """Return the seconds of a look at the first `count` images, decoding left out, by whatever weights are loaded."""
    inputs = encoder.preprocess(images.pixels(range(count), encoder.image_size))
    began = time.perf_counter()
    with torch.inference_mode():
        encoder.forward(inputs).cpu()
    return time.perf_counter() - began


def compute_in(precision: str, encoder: Encoder) -> None:
    """Have an encoder train, and look at images, in this format."""
    encoder.autocast = autocast(precision)
    encoder.onednn = encoder.device.type == "cpu" and _large(encoder) and products.pays()


def _large(encoder: Encoder) -> bool:
    return sum(item.numel() for item in encoder.module.parameters()) >= LARGE


def autocast(precision: str) -> torch.dtype | None:
    """Return the format of an encoder's products, None for that of its weights."""
    return torch.bfloat16 if precision == "bfloat16" else None
