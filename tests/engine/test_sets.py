"""All expert sets side by side, against what the other doors say of each."""

from __future__ import annotations

import numpy as np
import pytest

from ri_analysis.engine import Evaluator
from ri_analysis.engine.evaluation import accuracy_change, interference_change
from ri_analysis.engine.sets import compare_sets, sets_kept
from ri_analysis.measures import off_diagonal_mean
from ri_analysis.resolving import resolve


@pytest.fixture
def two(evaluator: Evaluator) -> Evaluator:
    """A suite with a shipped set and one that was made here, of two tasks."""
    settings = {"steps": 3, "lr": 1e-3, "batch": 16, "parameters": "last-blocks", "blocks": 1}
    resolve(evaluator.suite, auxiliary="other", name="made", settings=settings, tasks=("Reds", "Blues"))
    return evaluator


def test_every_set_is_measured_as_alone(two: Evaluator) -> None:
    recipe = two.recipe("task-arithmetic")
    assert not sets_kept(two, recipe)
    table = compare_sets(two, recipe).set_index("experts")
    assert list(table.index) == ["original", "mild", "made"]
    for name, row in table.iterrows():
        tasks = two.suite.set_tasks(str(name))
        asked = recipe.of_tasks(tasks)
        before, after = two.measure(asked), two.measure(asked.with_experts(str(name)))
        assert row["tasks"] == len(tasks)
        assert row["n"] == 24 * len(tasks)
        assert row["accuracy"] == pytest.approx(after.mean_accuracy[0])
        assert row["interference_high"] == pytest.approx(after.mean_interference[1].high)
        crosstalk = two.crosstalk(str(name))
        assert row["crosstalk"] == pytest.approx(off_diagonal_mean(crosstalk), rel=1e-5)
        own = [
            float(two.measure_model(two.expert(task, str(name)), {}, (task,)).correct[task].mean()) for task in tasks
        ]
        assert row["own_accuracy"] == pytest.approx(np.mean(own))
        if name == "original":
            assert np.isnan(row["accuracy_change"])
            continue
        assert (row["accuracy_change"], row["accuracy_change_low"]) == pytest.approx(
            (accuracy_change(before, after).value, accuracy_change(before, after).interval.low)
        )
        assert row["interference_change"] == pytest.approx(interference_change(before, after).value)
        assert row["own_accuracy_change"] == pytest.approx(np.mean(own) - before.mean_expert_accuracy[0])
        alone = two.crosstalk("original", tasks=tasks)
        assert row["crosstalk_change"] == pytest.approx(row["crosstalk"] - off_diagonal_mean(alone), rel=1e-4)
        assert row["crosstalk_change_low"] <= row["crosstalk_change"] <= row["crosstalk_change_high"]
    assert sets_kept(two, recipe)


def test_only_settings_that_differ_are_listed(two: Evaluator) -> None:
    settings = {"steps": 3, "lr": 1e-3, "batch": 16, "alpha": 2.0}
    resolve(two.suite, auxiliary="other", name="other", settings=settings)
    table = compare_sets(two, two.recipe("averaging"), limit=4).set_index("experts")
    assert table.loc["other", "settings"] == {"alpha": 2.0}
    assert table.loc["made", "settings"] == {"alpha": 1.0, "parameters": "last-blocks", "blocks": 1}
    assert table.loc["mild", "settings"] == {}
    assert table.loc["made", "made"].startswith("20")
    assert table.loc["mild", "made"] == ""
    assert set(table["n"]) == {12, 8}


def test_one_task_has_no_crosstalk(two: Evaluator) -> None:
    table = compare_sets(two, two.recipe("averaging", tasks=("Reds",)))
    assert table["crosstalk"].isna().all()
    assert len(table) == 3
