from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest

from ri_analysis.errors import InputError, WriteError
from ri_analysis.files import atomic_path, digest, file_digest, temporary_folder, write_text


def test_an_aborted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [item.name for item in path.parent.iterdir()] == ["b.txt"]


def test_a_folder_that_takes_no_file_is_said_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*, prefix: str, suffix: str, dir: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", f"{dir}/{prefix}abcdefgh{suffix}")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(WriteError, match=rf"^{tmp_path / 'x.txt'}: can't be written: permission denied$"):
        write_text(tmp_path / "x.txt", "text")


def test_digest_tells_parts_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("ab") == digest(b"ab")


def test_a_file_whose_name_is_no_text_is_written(tmp_path: Path) -> None:
    assert digest(os.fsdecode(b"\xe9")) != digest(os.fsdecode(b"\xff"))
    with suppress(WriteError):  # this system takes no such names
        write_text(tmp_path / os.fsdecode(b"caf\xe9.txt"), "text")


def test_file_digest_follows_the_content(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"one")
    first = file_digest(path)
    path.write_bytes(b"other")
    assert file_digest(path) != first
    with pytest.raises(InputError, match="missing"):
        file_digest(tmp_path / "missing")


def test_a_temporary_folder_is_gone_with_its_block_and_one_of_a_killed_run_with_the_next(tmp_path: Path):
    target = tmp_path / "merged"
    with temporary_folder(target) as left:
        (left / "half").write_text("x")
        with temporary_folder(target) as other:  # which leaves alone what is being written
            assert left.exists()
    assert not left.exists()
    assert not other.exists()
    left.mkdir()
    (left / "half").write_text("x")
    os.utime(left, (0, 0))
    with temporary_folder(target) as folder:
        folder.rename(target)
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]
