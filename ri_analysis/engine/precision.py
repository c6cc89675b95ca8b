"""In which number format a study's many merges are measured: bfloat16 where that is faster and says the same."""

from __future__ import annotations

import time

import numpy as np
import torch

from ri_analysis.encoder import Encoder
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.store import Arrays
from ri_analysis.files import digest
from ri_analysis.statistics import kl_divergence
from ri_analysis.suite import ORIGINAL, sample
from ri_analysis.suite.images import in_memory

LARGE = 16 << 20  # parameters; a smaller tower is quick in float32, which agrees with the other pages to the last digit
PROBE = 16  # images a task on which the formats are compared
FASTER = 1.5  # times, at least
NATS, CHANGED = 1e-3, 0.02  # mean KL(float32 ‖ bfloat16) and share of other predictions, at most


def number_format(evaluator: Evaluator) -> torch.dtype:
    """Return the format for an evaluator's many merges: torch.float32 or torch.bfloat16.

    The pretrained model's outputs on a probe decide, once for a suite, a workspace and a kind of device, so that a
    study that goes on, or has several workers, stays with one format.
    """
    if evaluator.suite.task_vectors(ORIGINAL).size < LARGE:
        return torch.float32
    kind = evaluator.device.type
    key = digest(*(evaluator.answer_key("bfloat16", kind, task, "test", PROBE) for task in evaluator.suite.tasks))
    if not evaluator.store.has(key):
        evaluator.store.put(key, trial(evaluator))
    kept = evaluator.store.get(key) or {}  # where another process was first, its answer counts
    found = {name: float(number) for name, number in kept.items()}
    agrees = found["nats"] <= NATS and found["changed"] <= CHANGED
    return torch.bfloat16 if agrees and found["faster"] >= FASTER else torch.float32


def trial(evaluator: Evaluator) -> Arrays:
    """Return how many times `faster` bfloat16 is than float32, and how far apart: `nats` and `changed` predictions."""
    side = evaluator.architecture.image_size
    sets = [(in_memory(sample(evaluator.suite.task_data(task), PROBE), side), None) for task in evaluator.suite.tasks]
    seconds, logits = [], []
    for dtype in (torch.float32, torch.bfloat16):
        encoder = Encoder(evaluator.architecture, evaluator.device, dtype=dtype)
        encoder.features(evaluator.suite.zero_shot, sets[0][0])  # the first pass sets up what later ones use
        started = time.perf_counter()
        features = encoder.features_of_many(evaluator.suite.zero_shot, sets)
        seconds.append(time.perf_counter() - started)
        heads = (evaluator.heads[task] for task in evaluator.suite.tasks)
        logits.append([head.logits(part) for head, part in zip(heads, features, strict=True)])
    pairs = list(zip(*logits, strict=True))
    nats = [kl_divergence(exact, quick).mean().item() for exact, quick in pairs]
    changed = [(exact.argmax(dim=1) != quick.argmax(dim=1)).float().mean().item() for exact, quick in pairs]
    numbers = {"faster": seconds[0] / seconds[1], "nats": np.mean(nats), "changed": np.mean(changed)}
    return {name: np.asarray(number) for name, number in numbers.items()}
