"""What a study is."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis.engine.evaluation import paired_differences
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.errors import InputError
from ri_analysis.figures.chart import Chart
from ri_analysis.hyperparameters import Hyperparameter, Value
from ri_analysis.intervals import bootstrap_mean
from ri_analysis.merging import find_method
from ri_analysis.sides import Sides
from ri_analysis.studies.conducting.work import Work
from ri_analysis.suite import ORIGINAL

Rounds = Generator[Sequence[Work], list[Any], pd.DataFrame]
"""Yields work, is sent its results in the same order, and so on; returns the tidy table."""
Part = Generator[Sequence[Work], list[Any], None]
"""Some of a study's rounds."""


@dataclass(frozen=True)
class Study:
    """A question that takes many merges.

    `rounds(evaluator, settings)` says what is to be measured, round by round: a later round may depend on the results
    of the earlier ones. `charts(table, dark)` draws the tidy table, `summary(table)` is the short one for documents,
    and `verdict(table)` says in a sentence or two what was found, to stand beside `finding`, what the paper reports
    (not re-run by us), "" where it reports nothing. With a `version` the finished table is kept, under a name that
    covers settings and suite: raise it whenever the same settings mean another table. Without one it is made again
    from its points, which suits a study that is still being written.
    """

    name: str
    title: str
    question: str
    finding: str
    rounds: Callable[[Evaluator, Mapping[str, Value]], Rounds]
    charts: Callable[[pd.DataFrame, bool], dict[str, Chart]]
    summary: Callable[[pd.DataFrame], pd.DataFrame]
    verdict: Callable[[pd.DataFrame], str]
    settings: tuple[Hyperparameter, ...] = ()
    version: str = ""


def before_and_after(evaluator: Evaluator) -> dict[str, list[str]]:
    """Return the expert sets to compare by stage, "before" and "after" RI; only the former where there is no RI set."""
    sides = Sides(ORIGINAL, evaluator.suite.default_resolved)
    return {stage: [experts] for stage, experts in sides.stages.items()}


def method_names(settings: Mapping[str, Value]) -> list[str]:
    """Return the methods named in the setting `methods`. Raises InputError for an unknown one, or none."""
    names = [name for name in str(settings["methods"]).split(",") if name]
    if not names:
        raise InputError("methods: expected at least one method, found none")
    return [find_method(name).name for name in names]


def measured(*outcomes: Outcomes) -> dict[str, float]:
    """Return the columns that every table has of a merge, measured once or with several seeds.

    `accuracy` and `interference` are means over the seeds; `_low` and `_high` the 95 % interval over images of that
    mean, `_seed_low` and `_seed_high` the lowest and the highest seed. `seeds` counts them, and `n` the images.
    """
    return {
        **over_seeds("accuracy", [outcome.correct for outcome in outcomes]),
        **over_seeds("interference", [outcome.divergence for outcome in outcomes]),
        "seeds": len(outcomes),
        "n": outcomes[0].n,
    }


def changed(
    before: Sequence[Outcomes],
    after: Sequence[Outcomes],
    accuracy: str = "gain",
    interference: str = "interference_change",
) -> dict[str, float]:
    """Return the columns of two changes, as `measured` has them, paired by image and seed.

    One outcome before is compared with every seed's after.
    """
    pairs = [(before[number % len(before)], outcome) for number, outcome in enumerate(after)]
    return {
        **over_seeds(accuracy, [paired_differences(old.correct, new.correct) for old, new in pairs]),
        **over_seeds(interference, [paired_differences(old.divergence, new.divergence) for old, new in pairs]),
    }


def over_seeds(name: str, by_seed: Sequence[Mapping[str, npt.NDArray[Any]]]) -> dict[str, float]:
    """Return `measured`'s columns of one quantity, given the value of each image, by task and seed."""
    groups = [np.stack([values[task] for values in by_seed]).astype(np.float64) for task in by_seed[0]]
    means = np.mean([group.mean(axis=1) for group in groups], axis=0)
    low, high = bootstrap_mean([group.mean(axis=0) for group in groups])
    return {
        name: float(means.mean()),
        f"{name}_low": low,
        f"{name}_high": high,
        f"{name}_seed_low": float(means.min()),
        f"{name}_seed_high": float(means.max()),
    }
