from __future__ import annotations

import pytest
import torch
from random_experts import assert_close, counts, layer, matrices, run

from ri_analysis.task_vectors import Layer


def naive_iso_c(deltas: torch.Tensor) -> torch.Tensor:
    u, s, vh = torch.linalg.svd(deltas.sum(dim=0), full_matrices=False)
    return s.mean() * u @ vh


@matrices
@counts
def test_agrees_with_the_full_svd(shape: tuple[int, int], count: int) -> None:
    item = layer(shape, count, seed=count)
    assert_close(run("iso-c", [item])[0], naive_iso_c(item.deltas.double()))


@pytest.mark.parametrize("shape", [(400, 150), (200, 200)])
def test_agrees_on_larger_matrices(shape: tuple[int, int]) -> None:
    item = layer(shape, 3)
    assert_close(run("iso-c", [item])[0], naive_iso_c(item.deltas.double()))


def test_a_sum_of_low_rank_keeps_its_directions_and_strength() -> None:
    # Singular values 6 and 2 of a possible 5: the mean is 8/5, on two directions.
    item = Layer("w", torch.zeros(6, 5), torch.zeros(2, 6, 5))
    item.deltas[0, 0, 0], item.deltas[1, 1, 1] = 6.0, -2.0
    expected = torch.zeros(6, 5)
    expected[0, 0], expected[1, 1] = 1.6, -1.6
    assert_close(run("iso-c", [item])[0], expected)


def test_experts_that_cancel_or_equal_the_pretrained_model() -> None:
    item = layer((5, 8), 1)
    for deltas in (torch.cat([item.deltas, -item.deltas]), torch.zeros(2, 5, 8)):
        assert not run("iso-c", [Layer("w", item.pretrained, deltas)])[0].any()


def test_one_expert() -> None:
    item = layer((5, 8), 1)
    singular = torch.linalg.svdvals(run("iso-c", [item])[0])
    assert_close(singular, torch.linalg.svdvals(item.deltas[0]).mean().expand(5))


def test_what_is_no_matrix_is_averaged() -> None:
    item = layer((4, 3, 2, 2), 3)
    assert_close(run("iso-c", [item])[0], item.deltas.double().mean(dim=0))
