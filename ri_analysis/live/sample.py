"""Some test images of each task, and how a model is judged on them from its features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from ri_analysis.divergences import kl_divergence
from ri_analysis.encoder import Head
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.measurement import Request
from ri_analysis.engine.outcomes import Indices, Outcome, Outcomes, labels
from ri_analysis.progress import Progress

Features = Mapping[str, torch.Tensor]  # (n, embed_dim) by task


@dataclass(frozen=True)
class Sample:
    """A stratified sample: for each task the places of its images, their labels, heads, and the original expert's
    logits (n, classes).

    `sizes` says how many images each task has in all.
    """

    rows: dict[str, Indices]
    sizes: dict[str, int]
    labels: dict[str, Indices]
    heads: Mapping[str, Head]
    expert: dict[str, torch.Tensor] = field(repr=False)

    @classmethod
    def of(cls, evaluator: Evaluator, size: int, progress: Progress | None = None) -> Sample:
        """Return `size` images of each of the suite's tasks; what the experts make of them is kept in the store.

        `progress` counts the images that the experts look at, and may raise Cancelled.
        """
        sections = evaluator.sections(evaluator.suite.tasks)
        requests = [Request(evaluator.expert(part.name), (part,), size) for part in sections]
        found = evaluator.measurement.outputs(requests, progress)
        rows = {part.name: part.rows(size) for part in sections}
        return cls(
            rows,
            {part.name: len(part.images) for part in sections},
            {part.name: labels(part)[rows[part.name]] for part in sections},
            evaluator.heads,
            {task: outputs.logits for each in found for task, outputs in each.items()},
        )

    def outcomes(self, features: Features) -> Outcomes:
        """Return what a model makes of the images of some tasks, given its features (n, embed_dim) of each."""
        return Outcomes({task: self._outcome(task, part) for task, part in features.items()})

    def _outcome(self, task: str, features: torch.Tensor) -> Outcome:
        logits = self.heads[task].logits(features)
        divergence = kl_divergence(self.expert[task], logits).clamp(min=0).numpy()
        predicted = logits.argmax(dim=1).numpy().astype(np.int32)
        return Outcome(self.rows[task], predicted, self.labels[task], divergence)
