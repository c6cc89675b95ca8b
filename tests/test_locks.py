"""Locks of what is written: awaited, held by one, and done without where there are none."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from filelock import FileLock

from ri_analysis.errors import WriteError
from ri_analysis.locks import locked


def test_a_run_that_another_process_makes_is_awaited(tmp_path: Path) -> None:
    path, seen = tmp_path / "set", []
    with FileLock(tmp_path / "set.lock") as held:

        def waiting() -> None:
            seen.append(len(seen))
            held.release()

        with locked(path, waiting):
            assert seen == [0]
    with locked(path, lambda: pytest.fail("nobody else is there")):
        pass


def test_a_file_system_without_locks_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(FileLock, "acquire", none)
    with locked(tmp_path / "new" / "set", lambda: pytest.fail("nobody is there")):
        pass


def test_a_place_that_takes_no_lock_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with (
        pytest.raises(WriteError, match=r"set: can't be written: read-only file system"),
        locked(tmp_path / "set", int),
    ):
        pass
