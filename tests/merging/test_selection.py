from __future__ import annotations

import pytest
import torch
from random_experts import flat, model

from ri_analysis.merging import selection
from ri_analysis.merging.selection import kth_largest, kth_largest_magnitude, share, split
from ri_analysis.task_vectors import Layer


def naive(rows: torch.Tensor, k: int) -> torch.Tensor:
    return rows.sort(dim=1, descending=True).values[:, k - 1]


@pytest.mark.parametrize(("part", "total", "whole"), [(0.29, 100, 29), (0.07, 100, 7), (0.2, 9, 1), (0.0, 5, 0)])
def test_a_share_is_read_as_the_decimal_it_was_written_as(part: float, total: int, whole: int) -> None:
    assert share(part, total) == whole


@pytest.mark.parametrize(("density", "k"), [(0.2, 820), (1.0, 4096), (1e-9, 1), (0.5, 2048), (0.0003, 2)])
def test_threshold_ends_the_largest_entries(density: float, k: int) -> None:
    deltas = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    layer = Layer("w", deltas[0], deltas)
    found = kth_largest_magnitude(lambda: iter([layer]), density)
    assert torch.equal(found, naive(deltas.flatten(1).abs(), k))


def test_threshold_is_one_for_all_layers() -> None:
    layers = model(4)
    rows = flat(layers).float().abs()
    found = kth_largest_magnitude(lambda: iter(layers), 0.1)
    assert torch.equal(found, naive(rows, -(-rows.shape[1] // 10)))


def test_equal_entries_at_the_threshold() -> None:
    # Half precision leaves few distinct values, so the threshold is shared by many entries; most are zero.
    deltas = (torch.randn(2, 50_000, generator=torch.Generator().manual_seed(1)) * 4).round().clamp(min=0)
    for k in (1, 5, 3_000, 20_000, 25_500, 49_999, 50_000):
        found = kth_largest(lambda: split(deltas), lambda total, k=k: k)
        assert torch.equal(found, naive(deltas, k))


@pytest.mark.parametrize("k", [1, 2, 700, 60_000, 99_990, 100_000])
def test_signed_entries(k: int) -> None:
    rows = torch.randn(2, 100_000, generator=torch.Generator().manual_seed(2)) * torch.tensor([[1.0], [1e-30]])
    assert torch.equal(kth_largest(lambda: split(rows), lambda total: k), naive(rows, k))
    assert torch.equal(selection._by_bits(lambda: split(rows), k), naive(rows, k))


def test_a_misleading_sample_does_not_mislead(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.rand(1, 20_000, generator=torch.Generator().manual_seed(3))
    rows[:, :: selection._STRIDE] = 5.0  # exactly the sampled entries
    counted = []
    bits = selection._by_bits
    monkeypatch.setattr(selection, "_by_bits", lambda chunks, k: counted.append(k) or bits(chunks, k))
    assert torch.equal(kth_largest(lambda: split(rows), lambda total: 9_000), naive(rows, 9_000))
    assert counted == [9_000]


def test_chunks_cover_every_entry_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "_CHUNK", 100)
    deltas = torch.arange(3 * 7 * 11.0).view(3, 7, 11)
    chunks = list(split(deltas))
    assert [chunk.shape[1] for chunk in chunks] == [33, 33, 11]
    assert torch.equal(torch.cat(chunks, dim=1), deltas.flatten(1))
    empty = kth_largest(lambda: split(deltas), lambda total: total)
    assert torch.equal(empty, deltas.flatten(1)[:, 0])
