from __future__ import annotations

import pytest
import torch
from random_experts import assert_close, counts, layer, matrices, run
from test_ties import naive_ties

from ri_analysis.task_vectors import Layer


def naive_knots(deltas: torch.Tensor, density: float, merge: str) -> torch.Tensor:
    """KnOTS-TIES of (T, m, n) by a full float64 SVD."""
    u, s, vh = torch.linalg.svd(torch.cat(list(deltas), dim=1), full_matrices=False)
    blocks = (torch.diag(s) @ vh).chunk(len(deltas), dim=1)
    rows = torch.stack([block.flatten() for block in blocks])
    return u @ naive_ties(rows, density, merge).view(len(s), -1)


@matrices
@counts
@pytest.mark.parametrize("merge", ["sum", "mean"])
def test_agrees_with_the_full_svd(shape: tuple[int, int], count: int, merge: str) -> None:
    item = layer(shape, count, seed=count)
    found = run("knots-ties", [item], density=0.3, merge=merge)[0]
    assert_close(found, naive_knots(item.deltas.double(), 0.3, merge))


def test_low_rank_experts() -> None:
    # The case it was made for: LoRA experts. The result stays in the span of their columns.
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(3, 30, 2, generator=generator), torch.randn(3, 2, 20, generator=generator)
    item = Layer("w", torch.zeros(30, 20), left @ right)
    merged = run("knots-ties", [item])[0]
    assert torch.linalg.matrix_rank(merged, rtol=1e-4) <= 6
    span = torch.linalg.qr(torch.cat(list(left), dim=1))[0]
    assert_close(span @ span.T @ merged, merged)


def test_one_expert_kept_whole_is_itself() -> None:
    item = layer((9, 14), 1)
    assert_close(run("knots-ties", [item], density=1.0)[0], item.deltas[0])


def test_experts_equal_to_the_pretrained_model() -> None:
    assert not run("knots-ties", [Layer("w", torch.ones(4, 3), torch.zeros(2, 4, 3))])[0].any()


def test_what_is_no_matrix_is_merged_by_ties() -> None:
    item = layer((4, 3, 2, 2), 3)
    assert torch.equal(run("knots-ties", [item])[0], run("ties", [item])[0])
