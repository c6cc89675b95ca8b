"""Files are read through by a child process first, and its death is one message."""

from __future__ import annotations

import signal
from pathlib import Path

import pyarrow as pa
import pytest

from ri_analysis.errors import InputError
from ri_analysis.suite import trial


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "x.arrow"
    made = pa.table({"label": [1, 2]})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, made.schema) as stream:
        stream.write_table(made)
    return path


def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Have a child that reads a file by `body`."""
    script = tmp_path / "child.py"
    script.write_text(f"import os, sys, time\nfor line in sys.stdin:\n    {body}\n")
    monkeypatch.setattr(trial, "_SCRIPT", script)
    monkeypatch.setattr(trial, "_waiting", [])
    trial._outcome.cache_clear()


def test_a_whole_file_is_read_through_once(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial.try_reading(table, "arrow", "a table", tmp_path / "memory")
    trial._outcome.cache_clear()
    monkeypatch.setattr(trial, "_ask", lambda *_: pytest.fail("it is remembered"))
    trial.try_reading(table, "arrow", "a table", tmp_path / "memory")


def test_damage_is_said_and_never_remembered(table: Path, tmp_path: Path) -> None:
    table.write_bytes(table.read_bytes()[:-30])
    for _ in range(2):
        with pytest.raises(InputError, match=r"x\.arrow: expected a table, found damaged data"):
            trial.try_reading(table, "arrow", "a table", tmp_path / "memory")
        trial._outcome.cache_clear()


@pytest.mark.skipif(not hasattr(signal, "SIGSEGV"), reason="signals of POSIX")
def test_a_child_that_dies_is_one_message(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child(tmp_path, monkeypatch, f"os.kill(os.getpid(), {int(signal.SIGSEGV)})")
    with pytest.raises(InputError, match=r"x\.arrow: expected a table, found damaged data that crashes .* \(SIGSEGV\)"):
        trial.try_reading(table, "arrow", "a table")


def test_a_child_that_takes_too_long_is_one_message(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(tmp_path, monkeypatch, "time.sleep(600)")
    monkeypatch.setattr(trial, "_GRACE", 0.1)
    monkeypatch.setenv("RI_ANALYSIS_LIMITS", "child-seconds=0")
    with pytest.raises(InputError, match=r"a file that takes longer to read than 0 s .*child-seconds=N allows more"):
        trial.try_reading(table, "arrow", "a table")


def test_a_child_that_was_let_go_is_started_again(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = repr(str(tmp_path / "gone"))
    first = f"open({gone}, 'w').close() or os._exit(0)"
    child(tmp_path, monkeypatch, f"print('null', flush=True) if os.path.exists({gone}) else {first}")
    trial.try_reading(table, "arrow", "a table")


def test_memory_is_limited(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("resource")
    monkeypatch.setattr(trial, "_waiting", [])
    trial._outcome.cache_clear()
    monkeypatch.setenv("RI_ANALYSIS_LIMITS", "child-bytes=1000000")
    with pytest.raises(InputError, match=r"x\.arrow: expected a table, found"):
        trial.try_reading(table, "arrow", "a table")
    trial._outcome.cache_clear()
    for item in trial._waiting:
        item.kill()
