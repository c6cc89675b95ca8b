"""In which number format models are measured: bfloat16 where that is faster here and says the same."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ri_analysis.divergences import kl_divergence
from ri_analysis.encoder import Architecture, Encoder, Head
from ri_analysis.encoder.architecture import LARGE
from ri_analysis.engine.sealing import Arrays
from ri_analysis.engine.sections import task_section
from ri_analysis.engine.store import Store
from ri_analysis.files import digest
from ri_analysis.progress import Counter, Progress
from ri_analysis.suite import Suite

PROBE = 24  # images, shared out among the tasks, on which the formats are compared
FASTER = 1.5  # times, at least
NATS, SHIFT = 1e-3, 1e-2  # mean KL(float32 ‖ bfloat16) and mean total variation of the predictions, at most


@dataclass(frozen=True)
class Trial:
    """What is tried: a suite's pretrained model on a few images of each task, on one kind of device."""

    suite: Suite
    store: Store
    architecture: Architecture
    heads: Mapping[str, Head]
    device: torch.device

    def number_format(self, progress: Progress | None = None) -> torch.dtype:
        """Return torch.bfloat16 or torch.float32.

        Decided once for a suite, a workspace and a kind of device, so that what resumes later, or on several workers,
        stays with one format. `progress` counts the images of the trial, seen in both formats.
        """
        if not self.needed:
            return torch.float32
        if not self.store.has(self._key):
            self.store.put(self._key, self.run(progress))
        kept = self.store.get(self._key) or {}  # where another process was first, its answer counts
        found = {name: float(number) for name, number in kept.items()}
        agrees = found["nats"] <= NATS and found["shift"] <= SHIFT
        return torch.bfloat16 if agrees and found["faster"] >= FASTER else torch.float32

    @cached_property
    def needed(self) -> bool:
        """Whether there is anything to decide."""
        return sum(shape.numel() for shape in self.architecture.tower_shapes().values()) >= LARGE

    @property
    def done(self) -> bool:
        """Whether `number_format` would measure nothing."""
        return not self.needed or self.store.has(self._key)

    def run(self, progress: Progress | None = None) -> Arrays:
        """Return how many times `faster` bfloat16 is than float32, and how far apart they are: `nats` and `shift`."""
        share = max(1, PROBE // len(self.suite.tasks))
        sections = [task_section(self.suite, task) for task in self.suite.tasks]
        sets = [(section.images, section.rows(share)) for section in sections]
        seconds, logits, counter = [], [], Counter(progress, 2 * sum(len(rows) for _, rows in sets))
        for dtype in (torch.float32, torch.bfloat16):
            encoder = Encoder(self.architecture, self.device, dtype=dtype)
            encoder.features(self.suite.zero_shot, sets[0][0], sets[0][1][:1])  # the first pass sets up what others use
            started = time.perf_counter()
            features = encoder.features_of_many(self.suite.zero_shot, sets, progress=counter.within)
            seconds.append(time.perf_counter() - started)
            counter.advance(counter.total // 2)
            logits.append([self.heads[part.name].logits(each) for part, each in zip(sections, features, strict=True)])
        pairs = list(zip(*logits, strict=True))
        nats = [kl_divergence(exact, quick).mean().item() for exact, quick in pairs]
        shift = [_total_variation(exact, quick).mean().item() for exact, quick in pairs]
        numbers = {"faster": seconds[0] / seconds[1], "nats": np.mean(nats), "shift": np.mean(shift)}
        return {name: np.asarray(number, np.float64) for name, number in numbers.items()}

    @property
    def _key(self) -> str:
        heads = (self.heads[task].weight.numpy().tobytes() for task in self.suite.tasks)
        images = (self.suite.task_data(task).digest for task in self.suite.tasks)
        tower = self.architecture.fingerprint
        return digest("trial", self.device.type, tower, self.suite.pretrained.digest, *images, *heads)


def _total_variation(logits: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (logits.softmax(dim=1) - other.softmax(dim=1)).abs().sum(dim=1) / 2
