"""In which number format a study's many merges are measured: bfloat16 where that is faster and says the same."""

from __future__ import annotations

import time

import numpy as np
import torch

from ri_analysis.encoder import Encoder
from ri_analysis.engine.evaluator import Evaluator, Progress
from ri_analysis.engine.models import Tally
from ri_analysis.engine.store import Arrays
from ri_analysis.files import digest
from ri_analysis.statistics import kl_divergence
from ri_analysis.suite import ORIGINAL, sample
from ri_analysis.suite.images import in_memory

LARGE = 16 << 20  # parameters; a smaller tower is quick in float32, which agrees with the other pages to the last digit
PROBE = 64  # images, shared out among the tasks, on which the formats are compared
FASTER = 1.5  # times, at least
NATS, CHANGED = 1e-3, 0.02  # mean KL(float32 ‖ bfloat16) and share of other predictions, at most


def number_format(evaluator: Evaluator, progress: Progress | None = None) -> torch.dtype:
    """Return the format for an evaluator's many merges: torch.float32 or torch.bfloat16.

    The pretrained model's outputs on a probe decide, once for a suite, a workspace and a kind of device, so that a
    study that goes on, or has several workers, stays with one format. `progress` counts the probe's images, seen in
    both formats, where that has yet to be decided.
    """
    if evaluator.suite.task_vectors(ORIGINAL).size < LARGE:
        return torch.float32
    kind, tasks = evaluator.device.type, evaluator.suite.tasks
    key = digest(*(evaluator.answer_key("bfloat16", kind, task, "test", _share(evaluator)) for task in tasks))
    if not evaluator.store.has(key):
        evaluator.store.put(key, trial(evaluator, progress))
    kept = evaluator.store.get(key) or {}  # where another process was first, its answer counts
    found = {name: float(number) for name, number in kept.items()}
    agrees = found["nats"] <= NATS and found["changed"] <= CHANGED
    return torch.bfloat16 if agrees and found["faster"] >= FASTER else torch.float32


def trial(evaluator: Evaluator, progress: Progress | None = None) -> Arrays:
    """Return how many times `faster` bfloat16 is than float32, and how far apart: `nats` and `changed` predictions."""
    suite, side = evaluator.suite, evaluator.architecture.image_size
    sets = [(in_memory(sample(suite.task_data(task), _share(evaluator)), side), None) for task in suite.tasks]
    seconds, logits, tally = [], [], Tally(progress, 2 * sum(len(images) for images, _ in sets))
    for dtype in (torch.float32, torch.bfloat16):
        encoder = Encoder(evaluator.architecture, evaluator.device, dtype=dtype)
        encoder.features(suite.zero_shot, sets[0][0])  # the first pass sets up what later ones use
        started = time.perf_counter()
        features = encoder.features_of_many(suite.zero_shot, sets, progress=tally.within)
        seconds.append(time.perf_counter() - started)
        tally.advance(tally.total // 2)
        heads = (evaluator.heads[task] for task in suite.tasks)
        logits.append([head.logits(part) for head, part in zip(heads, features, strict=True)])
    pairs = list(zip(*logits, strict=True))
    nats = [kl_divergence(exact, quick).mean().item() for exact, quick in pairs]
    changed = [(exact.argmax(dim=1) != quick.argmax(dim=1)).float().mean().item() for exact, quick in pairs]
    numbers = {"faster": seconds[0] / seconds[1], "nats": np.mean(nats), "changed": np.mean(changed)}
    return {name: np.asarray(number) for name, number in numbers.items()}


def _share(evaluator: Evaluator) -> int:
    """Return how many images of each task are looked at."""
    return max(1, PROBE // len(evaluator.suite.tasks))
