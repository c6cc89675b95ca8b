from __future__ import annotations

import math

import pytest
import torch
from random_experts import assert_close, counts, flat, joined, layer, model, run

from ri_analysis.task_vectors import Layer


def naive_ties(rows: torch.Tensor, density: float, merge: str) -> torch.Tensor:
    """TIES of a T×P matrix, step by step as the paper has it."""
    k = math.ceil(density * rows.shape[1] - 1e-6)
    threshold = rows.abs().sort(dim=1, descending=True).values[:, k - 1 : k]
    trimmed = torch.where(rows.abs() >= threshold, rows, 0.0)
    sign = trimmed.sum(dim=0).sign()
    sign[sign == 0] = 1.0 if sign.sum() >= 0 else -1.0
    agree = trimmed.sign() == sign
    total = torch.where(agree, trimmed, 0.0).sum(dim=0)
    return total if merge == "sum" else total / agree.sum(dim=0).clamp(min=1)


def by_hand() -> list[Layer]:
    # Two tensors, three entries and two; density 0.6 of P = 5 keeps three entries of each expert.
    #   τ_1 = ( 5 −1  0.5 |  2  0.1)   keeps   5  2 −1  →  ( 5 −1  0 |  2  0)
    #   τ_2 = (−3  2 −4   |  1  0.2)   keeps  −4 −3  2  →  (−3  2 −4 |  0  0)
    #   τ_3 = ( 1  6 −0.5 | −2 −7  )   keeps  −7  6 −2  →  ( 0  6  0 | −2 −7)
    # The sum is (2 7 −4 | 0 −7): signs + + − and −; the fourth entry cancels. Two + against two −: a draw, which +
    # wins, so the fourth sign is +. What agrees:
    #   5 alone; 2 and 6; −4 alone | 2 alone; −7 alone
    first = torch.tensor([[5, -1, 0.5], [-3, 2, -4], [1, 6, -0.5]])
    second = torch.tensor([[2, 0.1], [1, 0.2], [-2, -7]])
    return [Layer("a", torch.zeros(3), first), Layer("b", torch.zeros(2), second)]


@pytest.mark.parametrize(
    ("merge", "expected"), [("sum", [5.0, 8.0, -4.0, 2.0, -7.0]), ("mean", [5.0, 4.0, -4.0, 2.0, -7.0])]
)
def test_a_case_worked_on_paper(merge: str, expected: list[float]) -> None:
    assert joined(run("ties", by_hand(), density=0.6, merge=merge)).tolist() == expected


def test_the_majority_decides_where_entries_cancel() -> None:
    # Turned around, and one more negative entry: now − has the majority (+ + − − −), so the fourth entry is −2.
    layers = [Layer(item.name, item.pretrained, -item.deltas) for item in by_hand()]
    layers.append(Layer("c", torch.zeros(1), torch.tensor([[-9.0], [0.0], [0.0]])))
    # P = 6 and density 0.5 keep three again: τ_1 keeps −9 −5 −2, so its +1 goes and entry two is −2 − 6.
    assert joined(run("ties", layers, density=0.5)).tolist() == [-5.0, -8.0, 4.0, -2.0, 7.0, -9.0]


@counts
@pytest.mark.parametrize("merge", ["sum", "mean"])
@pytest.mark.parametrize("density", [0.05, 0.2, 1.0])
def test_agrees_with_the_flat_reference(count: int, merge: str, density: float) -> None:
    layers = model(count)
    found = joined(run("ties", layers, density=density, merge=merge))
    assert_close(found, naive_ties(flat(layers), density, merge))


def test_one_expert_is_trimmed_alone() -> None:
    layers = model(1)
    rows = flat(layers)
    found = joined(run("ties", layers, density=0.25)).double()
    assert torch.equal(found[found != 0], rows[0][found != 0])
    assert int((found != 0).sum()) == math.ceil(0.25 * rows.shape[1])


def test_opposite_experts_leave_one_of_them() -> None:
    one = layer((6, 5), 1)
    both = Layer(one.name, one.pretrained, torch.cat([one.deltas, -one.deltas]))
    assert torch.equal(run("ties", [both], density=1.0)[0], one.deltas[0].abs())


def test_experts_equal_to_the_pretrained_model() -> None:
    zero = Layer("w", torch.ones(4, 3), torch.zeros(3, 4, 3))
    for merge in ("sum", "mean"):
        assert not run("ties", [zero], merge=merge)[0].any()
