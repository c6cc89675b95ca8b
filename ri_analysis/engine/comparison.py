"""Two evaluations side by side: the tables behind the figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from ri_analysis.engine.evaluation import Change, Evaluation, accuracy_change, interference_change, on_tasks
from ri_analysis.statistics import Interval


@dataclass(frozen=True)
class Comparison:
    """A merge of the original experts, and the same of the RI-adapted ones where there are any."""

    before: Evaluation
    after: Evaluation | None

    @property
    def n(self) -> int:
        """Images measured, over all tasks."""
        return self.before.n

    @property
    def after_table(self) -> pd.DataFrame | None:
        """The table after RI."""
        return None if self.after is None else self.after.table

    @property
    def accuracy_change(self) -> Change | None:
        """The paired change of the mean accuracy, None without an RI set."""
        return None if self.after is None else accuracy_change(self.before, self.after)

    @property
    def interference_change(self) -> Change | None:
        """The paired change of the mean interference, None without an RI set."""
        return None if self.after is None else interference_change(self.before, self.after)

    def headline_table(self) -> pd.DataFrame:
        """Return the means: the columns `model`, `measure`, `value`, `low`, `high` of `figures.headline`."""
        rows = [
            ("zero_shot", "accuracy", self.before.mean_zero_shot_accuracy),
            ("before", "accuracy", self.before.mean_accuracy),
            ("expert", "accuracy", self.before.mean_expert_accuracy),
            ("before", "interference", self.before.mean_interference),
        ]
        if self.after is not None:
            rows.insert(2, ("after", "accuracy", self.after.mean_accuracy))
            rows.append(("after", "interference", self.after.mean_interference))
        return pd.DataFrame(
            [
                {"model": model, "measure": measure, "value": value, "low": low, "high": high}
                for model, measure, (value, (low, high)) in rows
            ]
        )

    def table(self) -> pd.DataFrame:
        """Return one row per task and expert set: both evaluations' tables, stacked under the column `experts`."""
        found = [self.before] if self.after is None else [self.before, self.after]
        tables = [evaluation.table.assign(experts=str(evaluation.recipe["experts"])) for evaluation in found]
        stacked = pd.concat(tables, ignore_index=True)
        return stacked[["task", "experts", *(name for name in stacked if name not in ("task", "experts"))]]


def pinned_table(pinned: Mapping[str, Comparison], now: Comparison | None) -> pd.DataFrame:
    """Return pinned recipes beside the current one: the columns of `figures.pinned`, one row a recipe and model.

    Differences are pinned − current, paired over the images of the tasks that both merge; NaN where there is nothing to
    compare with.
    """
    shown = pinned if now is None else {"now": now, **pinned}
    rows = []
    for name, comparison in shown.items():
        sides = {"before": comparison.before, "after": comparison.after}
        for stage, evaluation in sides.items():
            if evaluation is None:
                continue
            row: dict[str, object] = {"recipe": name, "stage": stage, "n": evaluation.n}
            for measure in ("accuracy", "interference"):
                value, (low, high) = getattr(evaluation, f"mean_{measure}")
                row |= {measure: value, f"{measure}_low": low, f"{measure}_high": high}
            current = None if now is None or name == "now" else (now.before if stage == "before" else now.after)
            rows.append(row | _differences(current, evaluation))
    return pd.DataFrame(rows)


def _differences(current: Evaluation | None, pinned: Evaluation) -> dict[str, object]:
    nothing = Change(float("nan"), Interval(float("nan"), float("nan")))
    both = [] if current is None else [task for task in current.correct if task in pinned.correct]
    found = {"accuracy": nothing, "interference": nothing}
    if current is not None and both:
        pair = on_tasks(current, both), on_tasks(pinned, both)
        found = {"accuracy": accuracy_change(*pair), "interference": interference_change(*pair)}
    return {
        f"{measure}_change{end}": value
        for measure, change in found.items()
        for end, value in (("", change.value), ("_low", change.interval.low), ("_high", change.interval.high))
    }
