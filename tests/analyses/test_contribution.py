from __future__ import annotations

from pathlib import Path

import pytest
from experts import noise, with_experts
from tiny import TASKS

from ri_analysis.analyses.blocks import drift_by_block
from ri_analysis.analyses.contribution import contributions
from ri_analysis.analyses.drift import measure_drift
from ri_analysis.analyses.geometry import weight_geometry
from ri_analysis.engine import Evaluator
from ri_analysis.errors import InputError

FULL = {"scale": 1.0}


@pytest.fixture
def culprit(tiny: Path) -> Evaluator:
    """Blues' expert changes the second block so much that it alone disturbs the others."""
    sizes = {"Reds": 1e-4, "Greens": 1e-4, "Blues": 0.4}
    return with_experts(tiny, lambda task, tensors: noise(tensors, sizes[task], len(task), "resblocks.1."))


def test_contribution_block_and_flips_name_the_expert_that_was_scaled_up(culprit: Evaluator) -> None:
    recipe = culprit.recipe("task-arithmetic", FULL)
    table = contributions(culprit, recipe).set_index(["expert", "task"])
    for task in ("Reds", "Greens"):
        other = "Greens" if task == "Reds" else "Reds"
        assert table.share["Blues", task] == pytest.approx(1, abs=0.02)
        assert table.left_out["Blues", task] == pytest.approx(table.together["Blues", task], rel=0.02)
        assert abs(table.share[other, task]) < 0.02
        assert abs(table.shapley["Blues", "Reds"]) > 100 * abs(table.shapley["Greens", "Reds"])
    blocks = drift_by_block(culprit, recipe).set_index(["task", "block"])
    assert blocks.distance["Reds", 1] == pytest.approx(0, abs=1e-4)
    assert blocks.distance["Reds", 2] > 0.1
    assert blocks.cka["Reds", 2] > 100 * blocks.cka["Reds", 1]
    layers = weight_geometry(culprit).layers
    assert set(layers.block) == {2}
    images = measure_drift(culprit, recipe).images("kl")
    flips = images[images.expert_says != images.merged_says]
    assert set(flips.task) <= {"Reds", "Greens"}
    assert len(flips)
    without = culprit.recipe("task-arithmetic", FULL, tasks=["Reds", "Greens"])
    assert set(measure_drift(culprit, without).images().outcome) <= {"kept", "wrong"}


def test_shapley_values_share_what_the_others_cause(evaluator: Evaluator) -> None:
    table = contributions(evaluator, evaluator.recipe("task-arithmetic", FULL))
    assert table.exact.all()
    for _, rows in table.groupby("task"):
        caused = rows.together.iloc[0] - rows.alone.iloc[0]
        assert rows.shapley.sum() == pytest.approx(caused, abs=1e-6)
        assert rows.share.sum() == pytest.approx(1)
    # Two players: φ_i = ½ [v(i) − v(∅) + v(ij) − v(j)], here with v measured by the evaluator itself.
    drift = {
        tasks: evaluator.measure(evaluator.recipe("task-arithmetic", FULL, tasks=tasks)).divergence["Reds"].mean()
        for tasks in (("Reds",), ("Reds", "Greens"), ("Reds", "Blues"), tuple(TASKS))
    }
    by_hand = 0.5 * (
        drift["Reds", "Greens"] - drift["Reds",] + drift["Reds", "Greens", "Blues"] - drift["Reds", "Blues"]
    )
    row = table[(table.expert == "Greens") & (table.task == "Reds")].iloc[0]
    assert row.shapley == pytest.approx(by_hand, abs=1e-5)
    assert row.left_out == pytest.approx(drift["Reds", "Greens", "Blues"] - drift["Reds", "Blues"], abs=1e-5)
    sampled = contributions(evaluator, evaluator.recipe("task-arithmetic", FULL), exact_up_to=2, order_pairs=2)
    assert not sampled.exact.any()
    assert sampled.shapley.tolist() == pytest.approx(table.shapley.tolist(), abs=1e-6)  # both orders of two players


def test_contribution_needs_methods_that_merge_fewer(evaluator: Evaluator) -> None:
    with pytest.raises(InputError, match="slerp merges exactly 2"):
        contributions(evaluator, evaluator.recipe("slerp", tasks=["Reds", "Blues"]))
    with pytest.raises(InputError, match="at least two experts"):
        contributions(evaluator, evaluator.recipe("averaging", tasks=["Reds"]))
