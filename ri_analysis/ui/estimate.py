"""How long an RI run will take here, timed on a few images."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch

from ri_analysis.engine import Evaluator, pick_device
from ri_analysis.hyperparameters import Value
from ri_analysis.resolving import cost
from ri_analysis.suite import Suite
from ri_analysis.ui import resources

_IMAGES = 16


def seconds(evaluator: Evaluator, suite: Suite, auxiliary: str, settings: Mapping[str, Value], experts: int) -> float:
    """Return the estimated seconds of a run: steps forward and back, and the teachers' outputs on what they draw."""
    key = ("seconds per image", suite.spec.path)
    found: tuple[float, float] | None = resources.memory().get(key)
    if found is None:
        found = _seconds_per_image(evaluator)
        resources.memory().put(key, found)
    forward, both = found
    trained, taught = cost(len(suite.auxiliary_data(auxiliary)), experts, settings)
    return trained * both + taught * forward


def _seconds_per_image(evaluator: Evaluator) -> tuple[float, float]:
    """Return the seconds that one image takes forward, and forward and back."""
    tower = evaluator.architecture.build_tower().to(pick_device(resources.device())).requires_grad_(True)
    size = evaluator.architecture.image_size
    images = torch.zeros(_IMAGES, 3, size, size, device=next(tower.parameters()).device)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        output = tower(images)
        middle = time.perf_counter()
        output.sum().backward()
        times.append((middle - start, time.perf_counter() - start))
    forward, both = min(times, key=lambda pair: pair[1])
    return forward / _IMAGES, both / _IMAGES
