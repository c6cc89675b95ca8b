"""Whether experts are good at their own tasks; where one is not, its labels, head or file are most often another's."""

from __future__ import annotations

import numpy as np

from ri_analysis.engine.evaluation import Evaluation
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.intervals import bootstrap_mean, wilson
from ri_analysis.progress import Progress
from ri_analysis.suite import Suite

_MOST, _LEAST = 64, 8  # images a task
_WORK = {"cpu": 4e12, "other": 4e14}  # multiplications and additions that a look may take, a few seconds'


def expert_remarks(suite: Suite, evaluation: Evaluation) -> tuple[str, ...]:
    """Return a remark for each expert that does worse than the pretrained model on its own task, or as well as a guess.

    Worse is a 95 % interval of the difference, images paired, below 0; a guess is the most frequent class (any class,
    where only a stratified part of the images was measured), when the accuracy's 95 % interval reaches down to it.
    """
    remarks = []
    for task, right in evaluation.expert_correct.items():
        zero_shot, guess = evaluation.zero_shot_correct[task], _guess(suite, task, evaluation.full)
        low, high = wilson(int(right.sum()), len(right))
        faults = []
        if bootstrap_mean([right.astype(float) - zero_shot.astype(float)], seed=evaluation.seed).high < 0:
            faults.append(f"worse than the pretrained model ({zero_shot.mean():.1%})")
        if low <= guess:
            faults.append(f"no better than guessing ({guess:.1%})")
        if faults:
            remarks.append(
                f"{suite.expert(task).path}: right on {right.mean():.1%} ({low:.1%} to {high:.1%}) of {len(right):,} "
                f"images of its own task {task!r}, {' and '.join(faults)}: is it this task's expert, and are the "
                "head's rows in the same order as the labels?"
            )
    return tuple(remarks)


def _guess(suite: Suite, task: str, full: bool) -> float:
    """Return the accuracy of always answering one class."""
    labels = suite.task_data(task).labels
    assert labels is not None  # task data is always read with labels
    _, counts = np.unique(labels, return_counts=True)
    return float(counts.max() / counts.sum()) if full else 1 / len(counts)


def try_experts(evaluator: Evaluator, progress: Progress | None = None) -> Evaluation:
    """Return what the pretrained model and each expert make of some images of each task, the same number of each.

    There are fewer for a larger model, so that it stays short, but never fewer than 8.
    """
    tasks = evaluator.suite.tasks
    return evaluator.measure_model(evaluator.pretrained, {}, tasks, limit=_images(evaluator), progress=progress)


def _images(evaluator: Evaluator) -> int:
    architecture = evaluator.architecture
    weights = sum(shape.numel() for shape in architecture.tower_shapes().values())
    patch = architecture.config["vision_cfg"].get("patch_size", 16)
    tokens = (architecture.image_size // (patch if isinstance(patch, int) else patch[0])) ** 2 + 1
    each = 2 * weights * tokens * 2 * len(evaluator.suite.tasks)
    budget = _WORK["cpu" if evaluator.device.type == "cpu" else "other"]
    return int(min(_MOST, max(_LEAST, budget // each)))
