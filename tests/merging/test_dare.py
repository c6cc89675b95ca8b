from __future__ import annotations

import pytest
import torch
from random_experts import assert_close, flat, joined, layer, model, run
from test_ties import naive_ties

from ri_analysis.merging.dare import thin


def test_entries_are_dropped_and_the_rest_enlarged() -> None:
    item = layer((200, 100), 3)
    thinned = thin(item, 0.75, seed=1)
    for before, after in zip(item.deltas, thinned.deltas, strict=True):
        kept = after != 0
        assert kept.double().mean() == pytest.approx(0.25, abs=0.02)
        torch.testing.assert_close(after[kept], before[kept] / 0.25)


def test_experts_and_tensors_are_drawn_independently() -> None:
    one = layer((100, 100), 2, name="a")
    first, second = (thin(one, 0.5, 0).deltas != 0).double()
    other = (thin(layer((100, 100), 2, name="b"), 0.5, 0).deltas != 0).double()[0]
    for left, right in ((first, second), (first, other)):
        assert (left * right).mean() == pytest.approx(0.25, abs=0.02)


def test_the_draw_depends_on_the_seed_alone() -> None:
    layers = model(3)
    forwards = run("dare", layers, seed=5)
    backwards = run("dare", layers[::-1], seed=5)[::-1]
    assert torch.equal(joined(forwards), joined(backwards))
    assert not torch.equal(joined(forwards), joined(run("dare", layers, seed=6)))


def test_the_draw_is_the_same_in_every_release() -> None:
    # Recipes are kept and shared by their seed; this fails if the derivation of the draw changes.
    item = layer((8,), 1, name="w")
    assert (thin(item, 0.5, 0).deltas[0] != 0).int().tolist() == [0, 0, 1, 0, 1, 1, 1, 0]


@pytest.mark.parametrize("count", [1, 2, 8])
def test_task_arithmetic_and_ties_of_the_thinned_vectors(count: int) -> None:
    layers = model(count)
    thinned = flat([thin(item, 0.5, 3) for item in layers])
    assert_close(joined(run("dare", layers, seed=3)), thinned.sum(dim=0))
    found = joined(run("dare", layers, seed=3, base="ties", density=0.3))
    assert_close(found, naive_ties(thinned, 0.3, "sum"))


def test_nothing_dropped_is_the_base_itself() -> None:
    layers = model(3)
    assert torch.equal(joined(run("dare", layers, drop=0)), joined(run("task-arithmetic", layers)))
    assert torch.equal(joined(run("dare", layers, drop=0, base="ties")), joined(run("ties", layers)))


def test_the_mean_over_draws_is_the_vector() -> None:
    item = layer((40,), 2)
    mean = torch.stack([run("dare", [item], seed=seed)[0] for seed in range(400)]).mean(dim=0)
    assert_close(mean, item.deltas.sum(dim=0), 0.15)
