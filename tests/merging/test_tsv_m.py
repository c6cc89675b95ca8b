from __future__ import annotations

import pytest
import torch
from random_experts import assert_close, counts, layer, matrices, run

from ri_analysis.task_vectors import Layer


def polar(matrix: torch.Tensor) -> torch.Tensor:
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    return u @ vh


def naive_tsv_m(deltas: torch.Tensor) -> torch.Tensor:
    """TSV-M of (T, m, n) by full float64 SVDs."""
    k = max(1, min(deltas.shape[1:]) // len(deltas))
    parts = [torch.linalg.svd(delta, full_matrices=False) for delta in deltas]
    u = torch.cat([part[0][:, :k] for part in parts], dim=1)
    s = torch.cat([part[1][:k] for part in parts])
    v = torch.cat([part[2][:k].T for part in parts], dim=1)
    return polar(u) @ torch.diag(s) @ polar(v).T


@matrices
@counts
def test_agrees_with_full_svds(shape: tuple[int, int], count: int) -> None:
    item = layer(shape, count, seed=count)
    assert_close(run("tsv-m", [item])[0], naive_tsv_m(item.deltas.double()))


@pytest.mark.parametrize("shape", [(300, 130), (130, 300)])
def test_agrees_on_larger_matrices(shape: tuple[int, int]) -> None:
    item = layer(shape, 4)
    assert_close(run("tsv-m", [item])[0], naive_tsv_m(item.deltas.double()))


def test_more_tasks_than_rank_keep_one_direction_each() -> None:
    # Three directions are made of eight: U⊥ is 3×8, so the result is one of many products but always of rank 3.
    item = layer((3, 9), 8)
    assert_close(run("tsv-m", [item])[0], naive_tsv_m(item.deltas.double()))


def test_one_expert_is_itself() -> None:
    item = layer((9, 5), 1)
    assert_close(run("tsv-m", [item])[0], item.deltas[0])


def test_repeated_experts_are_their_own_best_approximation() -> None:
    # Every copy brings the same k directions; made orthogonal they are one set, with the copies' strengths averaged.
    one = layer((12, 20), 1)
    four = Layer(one.name, one.pretrained, one.deltas.expand(4, 12, 20))
    u, s, vh = torch.linalg.svd(one.deltas[0].double(), full_matrices=False)
    assert_close(run("tsv-m", [four])[0], u[:, :3] @ torch.diag(s[:3]) @ vh[:3])


def test_zero_and_low_rank_experts_bring_nothing_of_their_own() -> None:
    item = layer((12, 20), 3)
    item.deltas[1] = 0
    item.deltas[2] = torch.outer(item.deltas[2, :, 0], item.deltas[2, 0])
    merged = run("tsv-m", [item])[0]
    assert torch.linalg.matrix_rank(merged, rtol=1e-4) == 4 + 0 + 1
    zero = Layer("w", torch.ones(4, 3), torch.zeros(2, 4, 3))
    assert not run("tsv-m", [zero])[0].any()


@pytest.mark.parametrize("shape", [(7,), (4, 3, 2, 2), ()])
def test_what_is_no_matrix_is_averaged(shape: tuple[int, ...]) -> None:
    item = layer(shape, 3)
    assert_close(run("tsv-m", [item])[0], item.deltas.double().mean(dim=0))
