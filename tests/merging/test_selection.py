from __future__ import annotations

import pytest
import torch
from random_experts import flat, model, task_vectors

from ri_analysis import task_vectors as stored
from ri_analysis.merging import selection
from ri_analysis.merging.method import Walk
from ri_analysis.merging.selection import kth_largest, kth_largest_magnitude, share
from ri_analysis.task_vectors import Layer


def walk(rows: torch.Tensor) -> Walk:
    return lambda: iter([Layer("w", rows[0], rows)])


def same(rows: torch.Tensor) -> torch.Tensor:
    return rows


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
        found = kth_largest(walk(deltas), same, lambda total, k=k: k)
        assert torch.equal(found, naive(deltas, k))


@pytest.mark.parametrize("k", [1, 2, 700, 60_000, 99_990, 100_000])
def test_signed_entries(k: int) -> None:
    rows = torch.randn(2, 100_000, generator=torch.Generator().manual_seed(2)) * torch.tensor([[1.0], [1e-30]])
    assert torch.equal(kth_largest(walk(rows), same, lambda total: k), naive(rows, k))
    assert torch.equal(selection._by_bits(lambda: iter([rows]), k), naive(rows, k))


def test_a_misleading_sample_does_not_mislead(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.rand(1, 20_000, generator=torch.Generator().manual_seed(3))
    rows[:, :: selection._STRIDE] = 5.0  # exactly the sampled entries
    counted = []
    bits = selection._by_bits
    monkeypatch.setattr(selection, "_by_bits", lambda pieces, k: counted.append(k) or bits(pieces, k))
    assert torch.equal(kth_largest(walk(rows), same, lambda total: 9_000), naive(rows, 9_000))
    assert counted == [9_000]


def test_several_layers_are_sampled_as_one_row() -> None:
    rows = torch.randn(2, 30_000, generator=torch.Generator().manual_seed(4))
    layers = [Layer(str(n), part[0], part) for n, part in enumerate(torch.split(rows, [7, 12_345, 1, 17_647], dim=1))]
    total, sample = selection._sample(lambda: iter(layers), same)
    assert total == 30_000
    assert torch.equal(sample, rows[:, :: selection._STRIDE])


@pytest.mark.parametrize("lazy", [True, False])
def test_pieces_cover_every_entry_once(lazy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "PIECE", 33)
    for expected in task_vectors().walk():
        deltas = expected.deltas.flatten(1)
        layer = expected if lazy else Layer("w", expected.pretrained, expected.deltas)
        pieces = [piece.clone() for piece in layer.pieces()]
        assert all(piece.shape[1] == 33 for piece in pieces[:-1])
        assert torch.equal(torch.cat(pieces, dim=1), deltas)
        assert torch.equal(layer.every(5, 3), deltas[:, 3::5])
        assert torch.equal(layer.map(lambda piece: piece[1].clone()), expected.deltas[1])
