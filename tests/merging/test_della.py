from __future__ import annotations

import pytest
import torch
from random_experts import assert_close, counts, joined, layer, model, run

from ri_analysis.merging.dare import thin
from ri_analysis.merging.della import drop_rates, prune
from ri_analysis.task_vectors import Layer


def naive_rates(delta: torch.Tensor, drop: float, spread: float) -> torch.Tensor:
    """Row by row and entry by entry, from the entry's place among the sorted magnitudes of its row."""
    rates = torch.zeros_like(delta, dtype=torch.float64)
    rows = rates.view(1, -1) if delta.ndim < 2 else rates.view(len(delta), -1)
    for row, values in zip(rows, delta.double().abs().reshape(rows.shape), strict=True):
        for place, value in enumerate(values):
            smaller = float((values < value).sum() + (values[:place] == value).sum())
            share = smaller / (len(values) - 1) if len(values) > 1 else 0.5
            row[place] = min(max(drop + spread - 2 * spread * share, 0.0), 0.99)
    return rates


def naive_della(deltas: torch.Tensor, merge: str) -> torch.Tensor:
    """Elect and fuse pruned task vectors (T, P), entry by entry, float64."""
    merged = torch.zeros(deltas.shape[1], dtype=torch.float64)
    for place, column in enumerate(deltas.double().T):
        sign = 1 if column.sum() >= 0 else -1
        agreeing = [value for value in column if value * sign > 0]
        if agreeing:
            merged[place] = sum(agreeing) / (len(agreeing) if merge == "mean" else 1)
    return merged


@pytest.mark.parametrize("shape", [(7, 9), (12,), (4, 3, 2, 2), (5, 1), (1,)])
@pytest.mark.parametrize(("drop", "spread"), [(0.5, 0.2), (0.1, 0.3), (0.95, 0.2), (0.3, 0.0)])
def test_small_entries_of_a_row_are_dropped_more_often(shape: tuple[int, ...], drop: float, spread: float) -> None:
    delta = layer(shape, 1).deltas[0].mul(8).round()  # with equal magnitudes and zeros
    torch.testing.assert_close(drop_rates(delta, drop, spread).double(), naive_rates(delta, drop, spread))


def test_rates_of_a_row_by_hand() -> None:
    delta = torch.tensor([[3.0, -1.0, 0.5, -2.0, 9.0], [0.0, -5.0, 4.0, 4.0, 1.0]])
    expected = torch.tensor([[0.45, 0.55, 0.6, 0.5, 0.4], [0.6, 0.4, 0.5, 0.45, 0.55]])
    torch.testing.assert_close(drop_rates(delta, 0.5, 0.1), expected)


@counts
@pytest.mark.parametrize("merge", ["mean", "sum"])
def test_elected_and_fused(count: int, merge: str) -> None:
    for item in model(count):
        pruned = prune(item, 0.6, 0.2, 3).deltas.flatten(1)
        found = run("della", [item], seed=3, drop=0.6, spread=0.2, merge=merge)[0]
        assert_close(found.flatten(), naive_della(pruned, merge))


def test_what_stays_is_enlarged_by_its_own_chance() -> None:
    item = layer((30, 40), 2)
    rates = torch.stack([naive_rates(delta, 0.5, 0.3) for delta in item.deltas])
    pruned, total = prune(item, 0.5, 0.3, 0).deltas.double(), torch.zeros_like(rates)
    kept = pruned != 0
    assert_close(pruned[kept], (item.deltas / (1 - rates))[kept])
    for seed in range(400):
        total += prune(item, 0.5, 0.3, seed).deltas != 0
    assert (total / 400 + rates - 1).abs().max() < 0.15  # six standard deviations of a share of 400
    assert (total / 400 + rates - 1).mean().abs() < 0.002


def test_without_a_spread_it_thins_as_dare_does() -> None:
    item = layer((20, 30), 3)
    assert_close(prune(item, 0.4, 0.0, 5).deltas, thin(item, 0.4, 5).deltas)


def test_nothing_dropped_is_the_mean_of_what_agrees() -> None:
    item = Layer(
        "w", torch.zeros(4), torch.tensor([[1.0, 1.0, -1.0, 0.0], [3.0, -2.0, 1.0, 0.0], [2.0, -4.0, 0.0, 0.0]])
    )
    assert run("della", [item], drop=0, spread=0)[0].tolist() == [2.0, -3.0, 1.0, 0.0]
    assert run("della", [item], drop=0, spread=0, merge="sum")[0].tolist() == [6.0, -6.0, 1.0, 0.0]


def test_the_draw_depends_on_the_seed_alone() -> None:
    layers = model(3)
    forwards = run("della", layers, seed=5)
    assert torch.equal(joined(forwards), joined(run("della", layers[::-1], seed=5)[::-1]))
    assert not torch.equal(joined(forwards), joined(run("della", layers, seed=6)))


def test_the_draw_is_the_same_in_every_release() -> None:
    item = layer((8,), 1, name="w")
    assert (prune(item, 0.5, 0.0, 0).deltas[0] != 0).int().tolist() == [0, 0, 1, 0, 1, 1, 1, 0]
