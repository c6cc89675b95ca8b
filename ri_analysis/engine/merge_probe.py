"""What a merge would gain while RI is still under way: on a few labelled task images, for showing only.

RI sees none of these images, and nothing of this comes back to it. A merge holds the adapted experts of the tasks that
are finished and the original ones of the others.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from ri_analysis.checkpoints import read_checkpoint
from ri_analysis.engine.evaluation import Evaluation, accuracy_change
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.models import Model
from ri_analysis.engine.sections import VALIDATION
from ri_analysis.errors import InputError
from ri_analysis.files import digest
from ri_analysis.merging import find_method, merge
from ri_analysis.progress import Progress
from ri_analysis.resolving.plan import expert_path
from ri_analysis.task_vectors import TaskVectors

IMAGES = 32  # of each task
SHARE = 0.05  # of a run's time that probing may take; the first and the last probe are made in any case


class Gain(NamedTuple):
    """The change of mean accuracy, as a share with its 95 % interval, when `finished` of `experts` are adapted."""

    finished: int
    experts: int
    change: float
    low: float
    high: float
    n: int  # images, over all tasks


class MergeProbe:
    """Measures the merge of a run's experts, as far as they are adapted, on validation images.

    Parameters
    ----------
    evaluator: of the suite that the run adapts.
    folder: of the run's set.
    tasks: those of the run, in its order.
    method: a merging method, used at its defaults.

    Raises InputError for a task without validation images, and for a method that learns from images.
    """

    def __init__(self, evaluator: Evaluator, folder: Path, tasks: tuple[str, ...], method: str) -> None:
        if find_method(method).statistic is not None:
            raise InputError(f"probe: {method} learns from images itself; choose another method")
        for task in tasks:
            evaluator.suite.task_data(task, VALIDATION)
        self._evaluator, self._folder, self._tasks = evaluator, folder, tasks
        self._recipe = evaluator.recipe(method, tasks=tasks)
        self._before: Evaluation | None = None
        self._finished: tuple[str, ...] = ()
        self._began, self._spent = time.monotonic(), 0.0
        self.gains: list[Gain] = []

    def after(self, progress: Progress | None = None) -> Gain | None:
        """Return the gain where another expert is finished and there is time to measure it; else None."""
        finished = tuple(task for task in self._tasks if expert_path(self._folder, task).exists())
        due = not self.gains or len(finished) == len(self._tasks) or self._affordable
        if len(finished) <= len(self._finished) or not due:
            return None
        began = time.monotonic()
        gain = self._measure(finished, progress)
        self._finished = finished
        self._spent += time.monotonic() - began
        self.gains.append(gain)
        return gain

    @property
    def _affordable(self) -> bool:
        each = self._spent / len(self.gains)
        return self._spent + each <= SHARE * (time.monotonic() - self._began)

    def _measure(self, finished: tuple[str, ...], progress: Progress | None) -> Gain:
        evaluator = self._evaluator
        if self._before is None:
            self._before = evaluator.measure(self._recipe, split=VALIDATION, limit=IMAGES, progress=progress)
        model = self._model(finished)
        after = evaluator.measure_model(model, {}, self._tasks, split=VALIDATION, limit=IMAGES, progress=progress)
        value, (low, high) = accuracy_change(self._before, after)
        return Gain(len(finished), len(self._tasks), value, low, high, after.n)

    def _model(self, finished: tuple[str, ...]) -> Model:
        suite = self._evaluator.suite
        checkpoints = {
            task: read_checkpoint(expert_path(self._folder, task)) if task in finished else suite.expert(task)
            for task in self._tasks
        }

        def weights(progress: Progress | None) -> Iterator[tuple[str, torch.Tensor]]:
            towers = {task: suite.tower(checkpoint).tensors for task, checkpoint in checkpoints.items()}
            sources = {task: str(checkpoint.path) for task, checkpoint in checkpoints.items()}
            return merge(TaskVectors(suite.zero_shot, towers, sources), self._recipe, progress=progress)

        parts = (f"{task} {checkpoint.digest}" for task, checkpoint in checkpoints.items())
        name = digest("probe", self._recipe.digest(self._evaluator.ingredients(self._recipe)), *parts)
        return Model(f"merge of {len(finished)} adapted experts", name, weights)
