from __future__ import annotations

import numpy as np
import pytest
from tiny import TASKS

from ri_analysis.analyses.blocks import drift_by_block
from ri_analysis.analyses.drift import drift_changes, measure_drift
from ri_analysis.engine import Evaluator
from ri_analysis.measures.distances import DISTANCES
from ri_analysis.sides import Sides

FULL = {"scale": 1.0}


def test_kl_drift_is_the_evaluators_interference(evaluator: Evaluator) -> None:
    recipe = evaluator.recipe("ties", experts="ri")
    evaluation, drift = evaluator.measure(recipe), measure_drift(evaluator, recipe)
    for task in TASKS:
        assert drift.values("kl")[task] == pytest.approx(evaluation.divergence[task], abs=1e-5)
    images = drift.images("kl")
    wrong = images.groupby("task").outcome.apply(lambda each: each.isin(["lost", "wrong", "moved"]).mean())
    accuracy = evaluation.table.set_index("task").accuracy
    assert (1 - wrong)[list(TASKS)].tolist() == pytest.approx(accuracy[list(TASKS)].tolist())


def test_one_expert_alone_does_not_drift_by_any_distance(evaluator: Evaluator) -> None:
    recipe = evaluator.recipe("task-arithmetic", FULL, tasks=["Greens"])
    drift = measure_drift(evaluator, recipe)
    for name in DISTANCES:
        assert drift.table(name).drift.tolist() == pytest.approx([0], abs=1e-5)
    assert set(drift.images().outcome) <= {"kept", "wrong"}
    blocks = drift_by_block(evaluator, recipe)
    assert blocks.block.tolist() == [1, 2]
    assert blocks[["cka", "distance"]].to_numpy() == pytest.approx(0, abs=1e-5)


def test_a_probe_is_seeded_and_nested(evaluator: Evaluator) -> None:
    recipe = evaluator.recipe("task-arithmetic", FULL)
    first, whole = measure_drift(evaluator, recipe, limit=6), measure_drift(evaluator, recipe)
    assert (first.full, first.n, whole.full, whole.n) == (False, 18, True, 72)
    both = first.images().merge(whole.images(), on=["task", "index"])
    assert np.allclose(both.drift_x, both.drift_y, atol=1e-5)
    assert len(both) == 18
    after = measure_drift(evaluator, recipe.with_experts("mild"))
    change = drift_changes(Sides(whole, after), "js")
    assert change is not None
    assert drift_changes(Sides(whole), "js") is None
    means = after.table("js").drift - whole.table("js").drift
    assert change.change.tolist() == pytest.approx(means.tolist(), abs=1e-6)
