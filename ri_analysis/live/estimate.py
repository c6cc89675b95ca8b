"""What a probe of the test images says of all of them, corrected by what is known of every image.

A probe is a stratified sample of each task's images. Where every image's outcome under other models is known (the
pretrained one, the task's expert, the merge that was last measured on everything), a regression on these outcomes
explains part of what the probe sees, and only the rest is left to chance: the regression estimator of survey sampling
(Cochran 1977, chapter 7; with several variables Särndal, Swensson and Wretman 1992, chapter 6). The merge measured last
is its control variate: the nearer it is, the narrower the interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis.engine.evaluation import Evaluation
from ri_analysis.engine.outcomes import Indices, Outcomes
from ri_analysis.intervals import Z_95, Interval

Values = npt.NDArray[np.float64]

_RIDGE = 0.5  # images that say there is no relation: keeps a few images from fitting a large slope
_SHARED = 4  # images that each task's variance borrows from the others': one task's probe may see no change at all


class Estimated(NamedTuple):
    """A mean with its 95 % interval."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class Estimate:
    """Means over all test images as far as a probe tells, by task and over tasks.

    `table` has one row per task: `task`, `accuracy` and `interference`, each with `_low` and `_high`, and `n`, the
    images looked at.
    """

    table: pd.DataFrame
    mean_accuracy: Estimated
    mean_interference: Estimated

    @property
    def n(self) -> int:
        """Images looked at, over all tasks."""
        return int(self.table["n"].sum())

    def widened(
        self,
        mean_accuracy: float,
        mean_interference: float,
        accuracy: Mapping[str, float],
        interference: Mapping[str, float],
    ) -> Estimate:
        """Return the estimate with intervals wider, to either side, by what else may be wrong: means, and by task."""
        table = self.table.copy()
        for name, by_task in (("accuracy", accuracy), ("interference", interference)):
            by = table["task"].map(dict(by_task))
            table[f"{name}_low"] -= by
            table[f"{name}_high"] += by
        means = _wider(self.mean_accuracy, mean_accuracy), _wider(self.mean_interference, mean_interference)
        return Estimate(table, *means)


def estimate(outcomes: Outcomes, reference: Evaluation, sizes: Mapping[str, int]) -> Estimate:
    """Return what `outcomes` say of all images of its tasks, `sizes` of them by task.

    `reference` is what was measured last; the tasks that it measured on all their images correct the estimate, the
    others are estimated from the probe alone.
    """
    tasks = list(outcomes)
    rows = {task: found.rows for task, found in outcomes.items()}
    known = {task: _known(reference, task, sizes[task]) for task in tasks}
    accuracy = _regress([outcomes.correct[task].astype(np.float64) for task in tasks], known, rows, sizes)
    nats = [outcomes.divergence[task].astype(np.float64) for task in tasks]
    interference = _regress(nats, known, rows, sizes)
    table = pd.DataFrame({"task": tasks})
    for name, (means, variances) in (("accuracy", accuracy), ("interference", interference)):
        spread = Z_95 * np.sqrt(variances)
        table[name], table[f"{name}_low"], table[f"{name}_high"] = means, means - spread, means + spread
    table["n"] = [len(outcomes.correct[task]) for task in tasks]
    return Estimate(table, _mean(*accuracy), _mean(*interference))


def _known(reference: Evaluation, task: str, size: int) -> Values | None:
    """Return what is known of every image of a task, (size, variables); None where not every image was measured."""
    correct = reference.correct.get(task)
    if correct is None or len(correct) != size:
        return None
    rights = (correct, reference.expert_correct[task], reference.zero_shot_correct[task])
    return np.stack([np.log1p(reference.divergence[task]), reference.divergence[task], *rights], axis=1).astype(float)


def _regress(
    values: Sequence[Values],
    known: Mapping[str, Values | None],
    rows: Mapping[str, Indices],
    sizes: Mapping[str, int],
) -> tuple[Values, Values]:
    """Return each task's estimated mean over all its images, and the variance of that, (tasks,) both.

    The slopes are the same for all tasks; what is left over belongs to each task alone.
    """
    seen = [None if known[task] is None else known[task][rows[task]] for task in known]  # type: ignore[index]
    slopes = _slopes(values, seen)
    means, squares, counts = [], [], [len(value) for value in values]
    for task, value, sample in zip(known, values, seen, strict=True):
        whole = known[task]
        rest = value if sample is None else value - sample @ slopes
        means.append(rest.mean() + (0.0 if whole is None else float(whole.mean(axis=0) @ slopes)))
        squares.append(float(((rest - rest.mean()) ** 2).sum()))
    freedom = max(1, sum(counts) - len(counts) - len(slopes))
    shared = sum(squares) / freedom
    fitted = (sum(counts) - len(counts)) / freedom  # what the slopes took from the residuals
    variances = [
        fitted * (square + _SHARED * shared) / (count - 1 + _SHARED) / count * (1 - count / sizes[task])
        for task, square, count in zip(known, squares, counts, strict=True)
    ]
    return np.array(means), np.array(variances)


def _slopes(values: Sequence[Values], seen: Sequence[Values | None]) -> Values:
    """Return the slopes (variables,) that explain the values within tasks, over the tasks of which more is known."""
    pairs = [(value, sample) for value, sample in zip(values, seen, strict=True) if sample is not None]
    if not pairs:
        return np.zeros(0)
    left = np.concatenate([sample - sample.mean(axis=0) for _, sample in pairs])
    right = np.concatenate([value - value.mean() for value, _ in pairs])
    gram = left.T @ left
    found: Values = np.linalg.solve(gram + _RIDGE * np.eye(len(gram)), left.T @ right)
    return found


def _mean(means: Values, variances: Values) -> Estimated:
    value, spread = float(means.mean()), Z_95 * math.sqrt(float(variances.sum())) / len(means)
    return Estimated(value, Interval(value - spread, value + spread))


def _wider(estimated: Estimated, by: float) -> Estimated:
    low, high = estimated.interval
    return Estimated(estimated.value, Interval(low - by, high + by))
