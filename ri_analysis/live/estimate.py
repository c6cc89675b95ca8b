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

VARIABLES = 5  # known of each image: see _known
_RIDGE = 0.5  # images that say there is no relation: keeps a few images from fitting a large slope
SHARED = 4  # images that each task's variance borrows from the others': one task's probe may see no change at all


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
    correction = Correction.of(reference, {task: found.rows for task, found in outcomes.items()}, sizes)
    accuracy = correction.regress([outcomes.correct[task].astype(np.float64) for task in tasks])
    interference = correction.regress([outcomes.divergence[task].astype(np.float64) for task in tasks])
    table = pd.DataFrame({"task": tasks})
    for name, (means, variances) in (("accuracy", accuracy), ("interference", interference)):
        spread = Z_95 * np.sqrt(variances)
        table[name], table[f"{name}_low"], table[f"{name}_high"] = means, means - spread, means + spread
    table["n"] = [len(outcomes.correct[task]) for task in tasks]
    return Estimate(table, _mean(*accuracy), _mean(*interference))


@dataclass(frozen=True)
class Correction:
    """The regression on what is known of every image: linear in what a probe sees, so the same whatever that is.

    For each task `seen` (n, variables) is what is known of the probe's images and `whole` (variables,) its mean over
    all images, both zero where nothing is known; the slopes of values (n,) by task are the sum of `projection`ᵀ values.
    `count` is the number of slopes that are fitted, 0 where nothing is known of any task.
    """

    seen: list[Values]
    whole: list[Values]
    projection: list[Values]
    sizes: list[int]
    count: int

    @classmethod
    def of(cls, reference: Evaluation, rows: Mapping[str, Indices], sizes: Mapping[str, int]) -> Correction:
        """Return the correction of a probe that looks at some `rows` of each task's images by what was measured last.

        The slopes are the same for all tasks; what is left over belongs to each task alone.
        """
        known = [_known(reference, task, sizes[task]) for task in rows]
        nothing = np.zeros(VARIABLES)
        pairs = list(zip(known, rows.values(), strict=True))
        seen = [np.zeros((len(row), VARIABLES)) if whole is None else whole[row] for whole, row in pairs]
        whole = [nothing if values is None else values.mean(axis=0) for values in known]
        centred = [sample - sample.mean(axis=0) for sample in seen]
        gram = sum((sample.T @ sample for sample in centred), _RIDGE * np.eye(VARIABLES))
        projection = [np.linalg.solve(gram, sample.T).T for sample in centred]
        count = 0 if all(values is None for values in known) else VARIABLES
        return cls(seen, whole, projection, [sizes[task] for task in rows], count)

    def regress(self, values: Sequence[Values]) -> tuple[Values, Values]:
        """Return each task's estimated mean over all its images, and the variance of that, (tasks,) both."""
        slopes = sum(weights.T @ value for weights, value in zip(self.projection, values, strict=True))
        rests = [value - sample @ slopes for value, sample in zip(values, self.seen, strict=True)]
        means = [rest.mean() + whole @ slopes for rest, whole in zip(rests, self.whole, strict=True)]
        squares, counts = [float(((rest - rest.mean()) ** 2).sum()) for rest in rests], [len(rest) for rest in rests]
        freedom = max(1, sum(counts) - len(counts) - self.count)
        shared = sum(squares) / freedom
        fitted = (sum(counts) - len(counts)) / freedom  # what the slopes took from the residuals
        variances = [
            fitted * (square + SHARED * shared) / (count - 1 + SHARED) / count * (1 - count / size)
            for size, square, count in zip(self.sizes, squares, counts, strict=True)
        ]
        return np.array(means), np.array(variances)


def _known(reference: Evaluation, task: str, size: int) -> Values | None:
    """Return what is known of every image of a task, (size, VARIABLES); None where not every image was measured."""
    correct = reference.correct.get(task)
    if correct is None or len(correct) != size:
        return None
    rights = (correct, reference.expert_correct[task], reference.zero_shot_correct[task])
    return np.stack([np.log1p(reference.divergence[task]), reference.divergence[task], *rights], axis=1).astype(float)


def _mean(means: Values, variances: Values) -> Estimated:
    value, spread = float(means.mean()), Z_95 * math.sqrt(float(variances.sum())) / len(means)
    return Estimated(value, Interval(value - spread, value + spread))


def _wider(estimated: Estimated, by: float) -> Estimated:
    low, high = estimated.interval
    return Estimated(estimated.value, Interval(low - by, high + by))
