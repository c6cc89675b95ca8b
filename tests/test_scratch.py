"""Zeros in a file: shapes, room, and what is left behind."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from ri_analysis.errors import InputError
from ri_analysis.scratch import zeros_on_disk


def test_they_are_zeros_of_their_own(tmp_path: Path) -> None:
    found = zeros_on_disk({"a": (2, 3), "b": (4,), "c": ()}, tmp_path / "new")
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == {"a": (2, 3), "b": (4,), "c": ()}
    found["a"] += 1.0
    assert torch.equal(found["a"], torch.ones(2, 3))
    assert float(found["b"].abs().sum() + found["c"].abs()) == 0.0


def test_the_file_has_no_name(tmp_path: Path) -> None:
    found = zeros_on_disk({"a": (1000,)}, tmp_path)
    found["a"].fill_(2.0)
    assert not list(tmp_path.iterdir())


def test_nothing_asked_for(tmp_path: Path) -> None:
    assert zeros_on_disk({}, tmp_path) == {}
    assert zeros_on_disk({"a": (0, 5)}, tmp_path)["a"].shape == (0, 5)


def test_they_are_mapped_from_a_file_and_count_as_such(tmp_path: Path) -> None:
    before = _memory("RssAnon")
    found = zeros_on_disk({"a": (1 << 24,)}, tmp_path)  # 64 MiB
    found["a"].fill_(1.0)
    if before is not None:  # Linux says which memory is a file's
        after = _memory("RssAnon")
        assert after is not None
        assert after - before < 16
    assert float(found["a"].sum()) == 1 << 24


def test_a_full_disk_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(InputError, match=r"expected room for 4 MiB while merging, found: No space left on device"):
        zeros_on_disk({"a": (1 << 20,)}, tmp_path)
    assert not list(tmp_path.iterdir())


def _memory(field: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), None)
