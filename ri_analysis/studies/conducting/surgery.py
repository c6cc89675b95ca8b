"""Representation Surgery: a merged model's features, corrected by a small network for each task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, NoReturn

import torch

from ri_analysis.engine import Evaluator
from ri_analysis.engine.measurement import Request
from ri_analysis.engine.models import Model
from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.engine.sections import VALIDATION
from ri_analysis.files import digest
from ri_analysis.progress import Progress
from ri_analysis.studies.conducting.point import Point, has_experts

VERSION = "1"  # raise when Surgery changes its meaning, and the study's with it
BATCH, RATE = 16, 1e-3  # the authors' images a step and learning rate of Adam


class Correction(NamedTuple):
    """z ↦ z − ReLU(zD)U, for D (embed_dim, rank) and U (rank, embed_dim)."""

    down: torch.Tensor
    up: torch.Tensor

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Return corrected features (n, embed_dim), not of unit length."""
        return features - torch.relu(features @ self.down) @ self.up


def learn_correction(
    features: torch.Tensor, targets: torch.Tensor, *, rank: int, steps: int, seed: int = 0
) -> Correction:
    """Return the correction after `steps` of Adam on the mean of |corrected features − targets|, both (n, embed_dim).

    Yang et al. 2024, Representation Surgery for multi-task model merging, arXiv 2402.02705. Each step sees 16 rows.
    """
    generator, width = torch.Generator().manual_seed(seed), features.shape[1]
    down = torch.empty(width, rank).uniform_(-(width**-0.5), width**-0.5, generator=generator)
    up = torch.empty(rank, width).uniform_(-(rank**-0.5), rank**-0.5, generator=generator)
    correction = Correction(down.requires_grad_(), up.requires_grad_())
    optimizer = torch.optim.Adam(correction, lr=RATE)
    for _ in range(steps):
        rows = torch.randperm(len(features), generator=generator)[:BATCH]
        optimizer.zero_grad()
        (correction(features[rows]) - targets[rows]).abs().mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return Correction(down.detach(), up.detach())


@dataclass(frozen=True)
class Operated:
    """`point`'s merge with its features corrected task by task, measured on the point's images.

    A correction learns from a task's validation images without their labels: what the original expert makes of them is
    what the merge is to make of them. A piece of a study's work, see Work.
    """

    point: Point
    rank: int
    steps: int

    def kept(self, evaluator: Evaluator) -> Outcomes | None:
        """See Work."""
        known = has_experts(evaluator, self.point.recipe)
        return evaluator.measurement.kept(self._named(evaluator)) if known else None

    def unknown(self, evaluator: Evaluator) -> Outcomes:
        """See Work."""
        return self.point.unknown(evaluator)

    def cost(self, evaluator: Evaluator) -> int:
        """See Work; what all points are held against is not counted, nor the steps, which encode nothing."""
        asked = self._asked(evaluator)
        if has_experts(evaluator, self.point.recipe):
            return evaluator.measurement.cost([replace(each, features=True) for each in asked], references=False)
        return sum(section.count(each.limit) for each in asked for section in each.sections)

    def bytes_held(self, evaluator: Evaluator) -> int:
        """See Work."""
        return 0

    def compute(self, evaluator: Evaluator, progress: Progress | None = None) -> Outcomes:
        """See Work."""
        (test, learned), measurement = self._asked(evaluator), evaluator.measurement
        experts = [Request(measurement.reference(section.name), [section]) for section in learned.sections]
        merged, seen, *taught = measurement.features([test, learned, *experts], progress)
        targets = {name: features for each in taught for name, features in each.items()}
        found = {}
        for section in test.sections:
            task = section.name
            correct = learn_correction(seen[task], targets[task], rank=self.rank, steps=self.steps)
            features = torch.nn.functional.normalize(correct(merged[task]), dim=1)
            found[task] = measurement.outcome_of(section, features, test.limit)
        return Outcomes(found)

    def keep(self, evaluator: Evaluator, result: Outcomes, seconds: float) -> None:
        """See Work."""
        evaluator.measurement.keep(self._named(evaluator), result, seconds)

    def _asked(self, evaluator: Evaluator) -> tuple[Request, Request]:
        """Return the merge on the point's images, and on all those that it learns from."""
        test, recipe = self.point.request(evaluator), self.point.recipe
        return test, Request(test.model, evaluator.sections(recipe.tasks, VALIDATION))

    def _named(self, evaluator: Evaluator) -> Request:
        """Return the request that names what is kept: no weights give these answers."""
        test, learned = self._asked(evaluator)
        images = [section.images.digest for section in learned.sections]
        experts = [evaluator.measurement.reference(section.name).digest for section in learned.sections]
        name = digest(VERSION, "surgery", test.model.digest, f"{self.rank} {self.steps}", *images, *experts)
        return replace(test, model=Model(f"{test.model.name} with Surgery", name, _no_weights))


def _no_weights(_: Progress | None) -> NoReturn:
    raise AssertionError("a corrected model has no weights of its own")
