from __future__ import annotations

import pytest
from random_experts import assert_close, counts, flat, joined, model, run, task_vectors

from ri_analysis.merging import METHODS, MergeRecipe, merge


@counts
def test_sum(count: int) -> None:
    layers = model(count)
    assert_close(joined(run("task-arithmetic", layers)), flat(layers).sum(dim=0))


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_of_one_expert_it_is_wise_ft(alpha: float) -> None:
    vectors = task_vectors(count=1)
    found = dict(merge(vectors, MergeRecipe.of("task-arithmetic", ("a",), {"scale": alpha})))
    for layer in vectors.walk():
        expert = vectors.expert(layer.name, "a").double()
        assert_close(found[layer.name], (1 - alpha) * layer.pretrained.double() + alpha * expert)


@pytest.mark.parametrize("alpha", [0.4, 1.0])
def test_wise_ft_of_the_mean_of_several_is_averaging(alpha: float) -> None:
    vectors = task_vectors(count=3)
    found = dict(merge(vectors, MergeRecipe.of("averaging", vectors.tasks, {"scale": alpha})))
    for layer in vectors.walk():
        mean = sum(vectors.expert(layer.name, task).double() for task in vectors.tasks) / 3
        assert_close(found[layer.name], (1 - alpha) * layer.pretrained.double() + alpha * mean)


def test_who_looks_for_wise_ft_finds_it() -> None:
    assert [name for name, method in METHODS.items() if "WiSE-FT" in method.summary] == ["averaging", "task-arithmetic"]
