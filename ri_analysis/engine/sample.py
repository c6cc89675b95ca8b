"""Some test images of each task, and how a model is judged on them from its features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ri_analysis.encoder import Head
from ri_analysis.engine.estimate import Outcome
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.models import Tally, expert_model, outputs, probe
from ri_analysis.statistics import kl_divergence


@dataclass(frozen=True)
class Sample:
    """A stratified sample: for each task the places of its images, their labels and the original expert's logits.

    `sizes` says how many images each task has in all.
    """

    indices: dict[str, npt.NDArray[np.int64]]
    sizes: dict[str, int]
    _labels: dict[str, torch.Tensor]
    _heads: Mapping[str, Head]
    _expert: dict[str, torch.Tensor]

    @classmethod
    def of(cls, evaluator: Evaluator, size: int, tally: Tally | None = None) -> Sample:
        """Return `size` images of each of the suite's tasks; what the experts make of them is kept in the store.

        `tally` counts the images that the experts look at, and may end it by raising Cancelled.
        """
        indices, sizes, labels, expert = {}, {}, {}, {}
        for task in evaluator.suite.tasks:
            images, rows = probe(evaluator, task, size)
            assert images.labels is not None  # task data is always read with labels
            indices[task], sizes[task], labels[task] = rows, len(images), torch.from_numpy(images.labels[rows])
            expert[task] = outputs(evaluator, expert_model(evaluator, task), [task], size, tally)[task].logits
        return cls(indices, sizes, labels, evaluator.heads, expert)

    def outcome(self, features: Mapping[str, torch.Tensor]) -> Outcome:
        """Return what a model makes of the images of some tasks, given its features (n, embed_dim) of each."""
        logits = {task: self._heads[task].logits(part) for task, part in features.items()}
        return Outcome(
            {task: (values.argmax(dim=1) == self._labels[task]).numpy() for task, values in logits.items()},
            {task: kl_divergence(self._expert[task], values).clamp(min=0).numpy() for task, values in logits.items()},
            self.indices,
        )
