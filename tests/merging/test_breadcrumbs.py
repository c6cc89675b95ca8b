from __future__ import annotations

import pytest
import torch
from random_experts import assert_close, counts, joined, layer, model, run

from ri_analysis.task_vectors import Layer


def naive_breadcrumbs(deltas: torch.Tensor, keep: float, outliers: float) -> torch.Tensor:
    """Breadcrumbs of (T, *shape) by ranking the last dimension."""
    width = deltas.shape[-1]
    first, kept = int(outliers * width + 1e-6), int(keep * width + 1e-6)
    rank = deltas.abs().argsort(dim=-1, descending=True).argsort(dim=-1)
    return torch.where((rank >= first) & (rank < first + kept), deltas, 0.0).sum(dim=0)


@counts
@pytest.mark.parametrize(("keep", "outliers"), [(0.2, 0.1), (0.15, 0.006), (1.0, 0.0), (0.9, 0.3)])
def test_agrees_with_the_reference(count: int, keep: float, outliers: float) -> None:
    layers = model(count)
    expected = joined([naive_breadcrumbs(item.deltas.double(), keep, outliers) for item in layers])
    assert_close(joined(run("breadcrumbs", layers, keep=keep, outliers=outliers)), expected)


def test_a_row_worked_on_paper() -> None:
    # Ten entries, one outlier dropped (−9), the next three kept (8, −7, 6).
    row = torch.tensor([1.0, 8.0, -3.0, 0.5, -9.0, 6.0, 2.0, -7.0, 0.0, 4.0])
    merged = run("breadcrumbs", [Layer("w", torch.zeros(10), row[None])], keep=0.3, outliers=0.1)[0]
    assert merged.tolist() == [0, 8, 0, 0, 0, 6, 0, -7, 0, 0]


def test_everything_dropped() -> None:
    item = layer((4, 6), 2)
    assert not run("breadcrumbs", [item], keep=0.0)[0].any()
    assert not run("breadcrumbs", [item], outliers=1.0)[0].any()
    assert not run("breadcrumbs", [layer((), 2)])[0].any()
