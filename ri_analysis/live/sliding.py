"""A surrogate as the browser needs it to slide by itself: live/slide.js reads it, and says how it computes.

A model's features f(t) are a polynomial through its measured points: f(t) = Σ lᵢ(t) fᵢ. A class's logit before
normalising, f·w, is then that polynomial through fᵢ·w; so is the mean logit under the expert's distribution; and
|f|² = Σ lᵢ lⱼ fᵢ·fⱼ. With c the mean logit, KL(expert ‖ model) = Σ p log p − c + log Σ exp(logits): no features and no
expert's distribution need to be sent. Everything is little-endian float32 in base64, in rows of images, task by task.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from ri_analysis.engine.evaluation import Evaluation
from ri_analysis.intervals import Z_95
from ri_analysis.live.estimate import SHARED, VARIABLES, Correction
from ri_analysis.live.sample import Features, Sample
from ri_analysis.live.surrogate import Surrogate

BUDGET = 4 << 20  # bytes that the points of a pair of models may take in all, before base64
_BYTES = 4


def images_within(budget: int, classes: Iterable[int], points: int, models: int) -> int:
    """Return how many images a task may have for so many points of so many models to take `budget` bytes."""
    numbers = sum(count + 1 + points for count in classes) * points * models
    return max(1, budget // (_BYTES * numbers))


def constants(sample: Sample, tasks: Sequence[str]) -> dict[str, Any]:
    """Return what does not depend on the model: each task's sizes, and its images' labels and Σ p log p."""
    shapes = [
        {"name": task, "n": len(sample.rows[task]), "classes": sample.expert[task].shape[1], "size": sample.sizes[task]}
        for task in tasks
    ]
    experts = [torch.log_softmax(sample.expert[task].double(), dim=-1) for task in tasks]
    return {
        "tasks": shapes,
        "z": Z_95,
        "shared": SHARED,
        "variables": VARIABLES,
        "labels": _packed([sample.labels[task] for task in tasks]),
        "certainty": _packed([(logs.exp() * logs).sum(dim=-1).numpy() for logs in experts]),
    }


def points(surrogate: Surrogate, first: int, end: int) -> list[dict[str, Any]]:
    """Return a surrogate's points from the one measured as number `first` on, up to number `end`.

    For each task: logits (n, classes), mean logits (n,), and products with this and the points before, (n, number).
    """
    known = list(surrogate.points.items())
    return [
        {"position": known[place][0], "values": _point(surrogate.sample, [each for _, each in known[: place + 1]])}
        for place in range(first, end)
    ]


def correction(reference: Evaluation, sample: Sample, tasks: Sequence[str]) -> dict[str, Any]:
    """Return how what was measured last corrects estimates: for each task seen, projection (n, variables) and whole."""
    rows = {task: sample.rows[task] for task in tasks}
    found = Correction.of(reference, rows, sample.sizes)
    parts = zip(found.seen, found.projection, found.whole, strict=True)
    return {"fitted": found.count, "values": _packed([part for three in parts for part in three])}


def _point(sample: Sample, so_far: Sequence[Features]) -> str:
    parts = []
    for task, features in so_far[-1].items():
        logits = sample.heads[task].logits(features)
        mean = (torch.softmax(sample.expert[task], dim=-1) * logits).sum(dim=-1)
        gram = torch.stack([(features * other[task]).sum(dim=-1) for other in so_far], dim=1)
        parts += [logits, mean, gram]
    return _packed([part.numpy() for part in parts])


def _packed(parts: Sequence[Any]) -> str:
    return b64encode(np.concatenate([np.asarray(part, "<f4").ravel() for part in parts]).tobytes()).decode()
