"""Two evaluations side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from ri_analysis.engine.evaluation import (
    Change,
    Evaluation,
    accuracy_change,
    interference_change,
    normalised_accuracy_change,
    on_tasks,
)
from ri_analysis.intervals import Interval
from ri_analysis.sides import Sides


@dataclass(frozen=True)
class Comparison(Sides[Evaluation]):
    """A merge of the original experts, and the same of the RI-adapted ones where there are any."""

    @property
    def n(self) -> int:
        """Images measured, over all tasks."""
        return self.before.n

    @property
    def accuracy_change(self) -> Change | None:
        """The paired change of the mean accuracy, None without an RI set."""
        return None if self.after is None else accuracy_change(self.before, self.after)

    @property
    def normalised_accuracy_change(self) -> Change | None:
        """The paired change of the mean normalised accuracy, None without an RI set or where no expert is right."""
        return None if self.after is None else normalised_accuracy_change(self.before, self.after)

    @property
    def interference_change(self) -> Change | None:
        """The paired change of the mean interference, None without an RI set."""
        return None if self.after is None else interference_change(self.before, self.after)


def pinned_table(pinned: Mapping[str, Comparison], now: Comparison | None) -> pd.DataFrame:
    """Return pinned recipes beside the current one: the columns of `figures.pinned`, one row a recipe and model.

    For the differences from the current one see `differences`.
    """
    shown = pinned if now is None else {"now": now, **pinned}
    rows = []
    for name, comparison in shown.items():
        for stage, evaluation in comparison.stages.items():
            row: dict[str, object] = {"recipe": name, "stage": stage, "n": evaluation.n}
            for measure in ("accuracy", "interference"):
                value, (low, high) = getattr(evaluation, f"mean_{measure}")
                row |= {measure: value, f"{measure}_low": low, f"{measure}_high": high}
            current = None if now is None or name == "now" else now.stages.get(stage)
            rows.append(row | differences(current, evaluation))
    return pd.DataFrame(rows)


def differences(current: Evaluation | None, pinned: Evaluation) -> dict[str, float]:
    """Return pinned − current as `accuracy_change` and `interference_change`, each with `_low` and `_high`.

    They are paired over the images of the tasks that both merge; NaN where there is nothing to compare with.
    """
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
