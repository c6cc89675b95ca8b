"""Two evaluations side by side: the tables behind the figures."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ri_analysis.engine.evaluation import Change, Evaluation, accuracy_change, interference_change


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
