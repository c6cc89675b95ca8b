from __future__ import annotations

import pytest
import torch
from random_experts import assert_close, layer, run

from ri_analysis.task_vectors import Layer


def models(item: Layer) -> torch.Tensor:
    return item.pretrained.double() + item.deltas.double()


@pytest.mark.parametrize("shape", [(7, 9), (5,), (4, 3, 2, 2)])
@pytest.mark.parametrize("mix", [0.0, 0.3, 0.5, 1.0])
def test_agrees_with_the_formula(shape: tuple[int, ...], mix: float) -> None:
    item = layer(shape, 2)
    first, second = models(item)
    angle = torch.arccos((first * second).sum() / (first.norm() * second.norm()))
    expected = torch.sin((1 - mix) * angle) * first + torch.sin(mix * angle) * second
    expected = expected / torch.sin(angle) - item.pretrained.double()
    assert_close(run("slerp", [item], mix=mix)[0], expected)


def test_halfway_between_unit_vectors_at_a_right_angle() -> None:
    item = Layer("w", torch.zeros(2), torch.eye(2))
    assert_close(run("slerp", [item])[0], torch.full((2,), 0.5**0.5))


@pytest.mark.parametrize("angle", [1e-3, 1e-5, 1e-8, 0.0])
def test_nearly_parallel_experts(angle: float) -> None:
    # By the addition theorem the point a quarter of the way lies at a quarter of the angle, whatever its size.
    first = torch.tensor([1.0, 0.0], dtype=torch.float64)
    item = Layer("w", first.float(), torch.tensor([[0.0, 0.0], [0.0, angle]]))
    quarter = torch.tensor([0.0, angle / 4])
    torch.testing.assert_close(run("slerp", [item], mix=0.25)[0], quarter, atol=angle**2 + 1e-12, rtol=0)


def test_where_no_arc_is_defined_the_line_is_taken() -> None:
    opposite = Layer("w", torch.zeros(2), torch.tensor([[1.0, 2.0], [-2.0, -4.0]]))
    assert_close(run("slerp", [opposite], mix=0.25)[0], torch.tensor([0.25, 0.5]))
    zero = Layer("w", torch.zeros(2), torch.tensor([[0.0, 0.0], [-2.0, -4.0]]))
    assert_close(run("slerp", [zero], mix=0.25)[0], torch.tensor([-0.5, -1.0]))
