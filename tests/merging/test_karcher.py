from __future__ import annotations

import math

import pytest
import torch
from random_experts import assert_close, counts, layer, run

from ri_analysis.task_vectors import Layer


def naive_karcher(models: torch.Tensor) -> torch.Tensor:
    """The Karcher mean of the rows of (T, P), in the full space, float64."""
    norms = models.norm(dim=1, keepdim=True)
    points = models / norms
    mean = points.mean(dim=0)
    mean /= mean.norm()
    for _ in range(200):
        cosine = (points @ mean).clamp(-1, 1)
        angle = torch.arccos(cosine)
        away = points - cosine[:, None] * mean
        tangent = (away / away.norm(dim=1, keepdim=True).clamp(min=1e-300) * angle[:, None]).mean(dim=0)
        length = tangent.norm()
        if length < 1e-14:
            break
        mean = torch.cos(length) * mean + torch.sin(length) * tangent / length
    return mean * norms.mean()


@counts
@pytest.mark.parametrize("shape", [(7, 9), (12,), (4, 3, 2, 2)])
@pytest.mark.parametrize("spread", [3.0, 0.1])
def test_agrees_with_the_mean_in_the_full_space(count: int, shape: tuple[int, ...], spread: float) -> None:
    item = layer(shape, count, seed=count)
    item.deltas.mul_(10 * spread)
    models = (item.pretrained.double() + item.deltas.double()).flatten(1)
    expected = naive_karcher(models).view(shape) - item.pretrained.double()
    assert_close(run("karcher", [item])[0], expected)


def test_two_experts_meet_halfway() -> None:
    item = layer((6, 5), 2)
    pair = (item.pretrained + item.deltas).double()
    item.deltas[1] = (pair[1] * pair[0].norm() / pair[1].norm()).float() - item.pretrained
    assert_close(run("karcher", [item])[0], run("slerp", [item], mix=0.5)[0])


def test_three_points_on_a_circle() -> None:
    # At 0°, 30° and 90° on the unit circle the mean is at their mean angle, 40°.
    angles = torch.tensor([0.0, math.pi / 6, math.pi / 2])
    item = Layer("w", torch.zeros(2), torch.stack([angles.cos(), angles.sin()], dim=1))
    expected = torch.tensor([math.cos(math.radians(40)), math.sin(math.radians(40))])
    assert_close(run("karcher", [item])[0], expected)


def test_equal_experts_and_one_expert() -> None:
    item = layer((6, 5), 1)
    assert_close(run("karcher", [item])[0], item.deltas[0])
    same = Layer("w", item.pretrained, item.deltas.expand(4, 6, 5))
    assert_close(run("karcher", [same])[0], item.deltas[0])


def test_tensors_without_a_direction() -> None:
    assert not run("karcher", [Layer("w", torch.zeros(3), torch.zeros(2, 3))])[0].any()
    # A zero bias has no direction; it halves the mean norm.
    half = Layer("w", torch.zeros(3), torch.tensor([[0.0, 0.0, 0.0], [0.0, 3.0, 4.0]]))
    assert_close(run("karcher", [half])[0], torch.tensor([0.0, 1.5, 2.0]))
    opposite = Layer("w", torch.zeros(2), torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert run("karcher", [opposite])[0].norm() == pytest.approx(1.0)
