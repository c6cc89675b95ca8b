"""Does RI gain more when more experts are merged? Seeded subsets, RI run again for each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.figures import words
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.compared import along
from ri_analysis.hyperparameters import Hyperparameter, Value
from ri_analysis.studies.adapted import SHARED, Variant, compare, gains, runs_of
from ri_analysis.studies.study import Rounds, Study
from ri_analysis.studies.verdicts import beside_the_paper, greater, in_points, mean_over


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    variants = [
        Variant(
            {"experts_merged": len(subset), "subset": ",".join(subset)},
            subset,
            runs_of(evaluator, settings, tasks=subset),
        )
        for subset in subsets(evaluator.suite.tasks, int(settings["subsets"]))
    ]
    return (yield from compare(evaluator, settings, variants))


def subsets(tasks: tuple[str, ...], count: int) -> list[tuple[str, ...]]:
    """Return `count` seeded subsets of 2, 4, 8 … tasks, and all of them, each in the suite's order."""
    found: dict[tuple[str, ...], None] = {}
    size = 2
    while size < len(tasks):
        for seed in range(count):
            chosen = set(np.random.default_rng([size, seed]).permutation(len(tasks))[:size].tolist())
            found[tuple(task for place, task in enumerate(tasks) if place in chosen)] = None
        size *= 2
    found[tasks] = None
    return list(found)


def _charts(table: pd.DataFrame, dark: bool) -> dict[str, Chart]:
    text = (
        "Change by RI, mean over the subsets of each size, at the default λ. Thick bars: lowest to highest of all "
        "subsets and seeds; thin bars: 95% intervals, if there is one subset. Based on at least "
        f"{words.count(int(table['n'].min()), 'test image')} each."
    )
    chart = along(
        _by_size(table),
        "experts_merged",
        x_title="experts merged",
        y="gain",
        y_title="change in mean accuracy (points)",
        runs="runs",
        dark=dark,
    )
    return {"tasks": Chart(chart, text)}


def _by_size(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per method and size: means over subsets; different subsets share no interval over images."""
    groups = table.groupby(["title", "experts_merged"], sort=False)
    return groups.agg(
        gain=("gain", "mean"),
        gain_low=("gain_low", _only),
        gain_high=("gain_high", _only),
        gain_seed_low=("gain_seed_low", "min"),
        gain_seed_high=("gain_seed_high", "max"),
        seeds=("seeds", "sum"),
    ).reset_index()


def _only(values: pd.Series) -> float:
    return float(values.iloc[0]) if len(values) == 1 else float("nan")


def _verdict(table: pd.DataFrame) -> str:
    by_size = {str(size): mean_over(part, "gain") for size, part in table.groupby("experts_merged")}
    listed = ", ".join(f"{in_points(gain)} at {size}" for size, gain in by_size.items())
    smallest, *_, largest = [*by_size.values()] * 2
    claim = {"the gain grows with the number of experts": greater(largest, smallest)}
    return (
        f"Change by RI by number of experts, mean over methods and subsets: {listed}; the intervals are over images, "
        f"not over subsets. {beside_the_paper(claim)}"
    )


STUDY = Study(
    "tasks",
    "Number of experts",
    "Does RI help more when more experts are merged?",
    "At 8, 14 and 20 tasks: TSV-M +1.5, +2.8 and +3.8 points; Iso-CTS +0.2, +0.9 and +1.6 points.",
    _rounds,
    _charts,
    lambda table: gains(table, ["experts_merged", "subset"]).rename(columns={"experts_merged": "experts merged"}),
    _verdict,
    (
        Hyperparameter(
            "subsets",
            "random subsets of the tasks for each size",
            2,
            1,
            100,
            label="subsets of each size",
            unit="subsets",
        ),
        *SHARED,
    ),
    version="1",
)
