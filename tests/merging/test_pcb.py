from __future__ import annotations

import pytest
import torch
from random_experts import assert_close, counts, flat, joined, layer, model, run

from ri_analysis.task_vectors import Layer


def minmax(rows: torch.Tensor) -> torch.Tensor:
    low, high = rows.amin(dim=1, keepdim=True), rows.amax(dim=1, keepdim=True)
    return (rows - low) / (high - low)


def naive_pcb(rows: torch.Tensor, keep: float, clip: float) -> torch.Tensor:
    """PCB-Merging of a T×P matrix, float64."""
    count, size = rows.shape
    ordered = rows.abs().sort(dim=1).values
    first, last = int(clip * size + 1e-6), size - int(clip * size + 1e-6) - 1
    sizes = rows.abs().clamp(ordered[:, first : first + 1], ordered[:, last : last + 1])
    scores = torch.exp(count * minmax(sizes) ** 2) * torch.tanh(rows * rows.sum(dim=0))
    place = int((1 - keep) * size + 1e-6)
    floor = scores.sort(dim=1).values[:, place : place + 1]
    weights = minmax(torch.maximum(scores, floor))
    return (weights * rows.sign() * sizes).sum(dim=0) / weights.sum(dim=0).clamp(min=1e-12)


@counts
@pytest.mark.parametrize(("keep", "clip"), [(0.05, 0.01), (0.5, 0.0), (0.1, 0.0001)])
def test_agrees_with_the_flat_reference(count: int, keep: float, clip: float) -> None:
    layers = model(count)
    assert_close(joined(run("pcb", layers, keep=keep, clip=clip)), naive_pcb(flat(layers), keep, clip))


def test_the_winner_of_a_small_competition() -> None:
    # Two experts, P = 4, nothing clipped, the best quarter kept: each expert's floor is its second best score, so
    # one entry each has a weight above 0. Expert 1: 4 beats all. Expert 2: its 3 opposes 4 and scores below 0, its
    # 2 agrees with 1. So the merged vector is 4 where 1 wins alone, 2 where 2 wins alone, 0 elsewhere.
    deltas = torch.tensor([[4.0, 1.0, 0.5, 0.0], [-3.0, 2.0, 0.1, 0.0]])
    merged = run("pcb", [Layer("w", torch.zeros(4), deltas)], keep=0.5, clip=0.0)[0]
    assert merged.tolist() == [4.0, 2.0, 0.0, 0.0]


def test_many_experts_do_not_overflow() -> None:
    run("pcb", [layer((30, 40), 100)])


def test_one_expert_and_zero_experts() -> None:
    item = layer((20, 20), 1)
    merged = run("pcb", [item], clip=0.0)[0]
    assert torch.allclose(merged[merged != 0], item.deltas[0][merged != 0])
    assert int((merged != 0).sum()) == 19  # ⌈0.05·400⌉ − 1: the floor itself has weight 0
    assert not run("pcb", [Layer("w", torch.ones(4, 3), torch.zeros(2, 4, 3))])[0].any()
    with_zero = Layer("w", item.pretrained, torch.cat([item.deltas, torch.zeros(1, 20, 20)]))
    assert run("pcb", [with_zero])[0].any()
