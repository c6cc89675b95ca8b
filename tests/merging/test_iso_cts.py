from __future__ import annotations

import pytest
import torch
from random_experts import assert_close, counts, layer, matrices, run

from ri_analysis.merging.iso_cts import _split
from ri_analysis.task_vectors import Layer


def polar(matrix: torch.Tensor) -> torch.Tensor:
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    return u @ vh


def naive_iso_cts(deltas: torch.Tensor, common: float) -> torch.Tensor:
    """Iso-CTS of (T, m, n) by full float64 SVDs."""
    rank, tasks = min(deltas.shape[1:]), len(deltas)
    own = round((rank - int(common * rank)) / tasks)
    shared = rank - own * tasks
    u_sum, s_sum, vh_sum = torch.linalg.svd(deltas.sum(dim=0), full_matrices=False)
    u, s, v = [u_sum[:, :shared]], [s_sum[:shared]], [vh_sum[:shared].T]
    for delta in deltas:
        left = torch.linalg.svd(delta - u[0] @ u[0].T @ delta, full_matrices=False)
        u.append(left[0][:, :own])
        s.append(left[1][:own])
        v.append(left[2][:own].T)
    return torch.cat(s).mean() * polar(torch.cat(u, dim=1)) @ polar(torch.cat(v, dim=1)).T


@matrices
@counts
@pytest.mark.parametrize("common", [0.8, 0.25])
def test_agrees_with_full_svds(shape: tuple[int, int], count: int, common: float) -> None:
    item = layer(shape, count, seed=count)
    assert_close(run("iso-cts", [item], common=common)[0], naive_iso_cts(item.deltas.double(), common))


@pytest.mark.parametrize("shape", [(260, 120), (120, 260)])
def test_agrees_on_larger_matrices(shape: tuple[int, int]) -> None:
    item = layer(shape, 5)
    assert_close(run("iso-cts", [item])[0], naive_iso_cts(item.deltas.double(), 0.8))


@matrices
def test_without_task_directions_it_is_iso_c(shape: tuple[int, int]) -> None:
    item = layer(shape, 3)
    assert_close(run("iso-cts", [item], common=1.0)[0], run("iso-c", [item])[0])


def test_directions_are_divided_exactly() -> None:
    for rank in range(1, 40):
        for tasks in range(1, 25):
            for common in (0.0, 0.3, 0.8, 1.0):
                shared, own = _split(rank, tasks, common)
                assert shared >= 0
                assert own >= 0
                assert shared + own * tasks == rank
    assert _split(768, 8, 0.8) == (616, 19)  # ⌊0.8·768⌋ = 614, round(154/8) = 19, 768 − 152


def test_degenerate_experts_leave_finite_isotropic_directions() -> None:
    one = layer((12, 8), 1)
    repeated = Layer(one.name, one.pretrained, one.deltas.expand(4, 12, 8))
    # A repeated expert has nothing beside the common space but its own weakest directions: still an isometry.
    singular = torch.linalg.svdvals(run("iso-cts", [repeated], common=0.5)[0])
    kept = singular[singular > 1e-4]
    assert_close(kept, kept.mean().expand_as(kept))
    assert not run("iso-cts", [Layer("w", one.pretrained, torch.zeros(3, 12, 8))])[0].any()
    low = Layer("w", one.pretrained, torch.einsum("ti,tj->tij", torch.randn(3, 12), torch.randn(3, 8)))
    assert torch.linalg.matrix_rank(run("iso-cts", [low])[0], rtol=1e-4) <= 3
