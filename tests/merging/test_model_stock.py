from __future__ import annotations

import itertools
import math

import pytest
import torch
from random_experts import assert_close, counts, model, run

from ri_analysis.task_vectors import Layer


def naive_model_stock(deltas: torch.Tensor) -> torch.Tensor:
    """t times the mean of (T, P), float64, from the angles of all pairs."""
    rows = deltas.double()
    pairs = list(itertools.combinations(rows, 2))
    cosine = sum(float(torch.nn.functional.cosine_similarity(a, b, dim=0)) for a, b in pairs) / len(pairs)
    t = len(rows) * cosine / (1 + (len(rows) - 1) * cosine)
    return t * rows.mean(dim=0)


@counts
def test_agrees_with_the_angles_of_all_pairs_tensor_by_tensor(count: int) -> None:
    layers, generator = model(count), torch.Generator().manual_seed(1)
    for item in layers:
        item.deltas.add_(0.1 * torch.randn(item.pretrained.shape, generator=generator))  # what all experts share
    for item, found in zip(layers, run("model-stock", layers), strict=True):
        assert_close(found.flatten(), naive_model_stock(item.deltas.flatten(1)))


@pytest.mark.parametrize(("degrees", "expected"), [(0, 1.0), (60, 2 / 3), (90, 0.0), (120, 0.0), (180, 0.0)])
def test_two_experts_at_an_angle(degrees: float, expected: float) -> None:
    # cos 60° = 1/2: t = 2·½/(1 + ½). Lengths play no part in t.
    angle = math.radians(degrees)
    item = Layer("w", torch.zeros(2), torch.tensor([[3.0, 0.0], [math.cos(angle), math.sin(angle)]]))
    assert (run("model-stock", [item])[0] - expected * item.deltas.mean(dim=0)).abs().max() < 1e-6


def test_three_experts() -> None:
    # Cosines 1, 0, 0: their mean is 1/3 and t = 1/(1 + 2/3).
    item = Layer("w", torch.zeros(2), torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]]))
    assert_close(run("model-stock", [item])[0], 0.6 * torch.tensor([1.0, 1.0]))


def test_the_way_on_to_the_mean_is_at_right_angles_to_the_way_to_the_centre() -> None:
    """Where t comes from: experts lie around a centre c at right angles, (τ_i − c) ⊥ c and ⊥ (τ_j − c)."""
    centre = torch.tensor([2.0, 0.0, 0.0, 0.0])
    item = Layer("w", torch.zeros(4), centre + 3 * torch.eye(4)[1:])  # cos θ = 4/13
    found = run("model-stock", [item])[0]
    assert_close(found, 3 * 4 / 13 / (1 + 2 * 4 / 13) * (centre + torch.tensor([0.0, 1.0, 1.0, 1.0])))
    mean = item.deltas.mean(dim=0)
    assert float(found @ (centre - found)) == pytest.approx(0.0, abs=1e-5)  # the point of the mean's ray nearest to c
    assert_close(found, mean * float(centre @ mean / (mean @ mean)))


def test_an_unchanged_tensor_has_no_direction() -> None:
    item = Layer("w", torch.ones(2), torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]))
    # Cosines 1, 0, 0 again: t = 3/5 of the mean (2/3, 0).
    assert_close(run("model-stock", [item])[0], torch.tensor([0.4, 0.0]))
    assert not run("model-stock", [Layer("w", torch.ones(2), torch.zeros(3, 2))])[0].any()
