from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import started
from tiny import make_suite

from ri_analysis.errors import Cancelled, InputError
from ri_analysis.resolving import Losses, resolve
from ri_analysis.studies.conducting.crew import process_pool
from ri_analysis.suite import open_suite
from ri_analysis.workers import Tell, side_by_side, threads_each, worker_number

pytestmark = pytest.mark.long

TASKS = ("Reds", "Blues")
LONG: dict[str, Any] = {"steps": 100_000, "batch": 8}
FEW: dict[str, Any] = {"steps": 6, "batch": 16, "lr": 1e-3}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_suite(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(autouse=True)
def failing_script(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """As under Streamlit, the main module is a script; a worker that ran it would end with its error."""
    script = tmp_path_factory.mktemp("page") / "page.py"
    script.write_text("raise SystemExit(3)\n", encoding="utf-8")
    page = ModuleType("__main__")
    page.__file__ = str(script)
    monkeypatch.setitem(sys.modules, "__main__", page)


def adapt(suite: str, folder: Path, settings: dict[str, Any], **named: Any) -> Path:
    named = {"auxiliary": "other", "name": "x", "tasks": TASKS, "directory": folder, "jobs": 2} | named
    return resolve(open_suite(suite), settings=settings, **named)


def test_experts_adapted_at_once_equal_those_adapted_in_turn(suite: str, tmp_path: Path):
    counts, losses = list[tuple[int, int]](), list[Losses]()
    adapt(suite, tmp_path / "two", FEW, progress=lambda *at: counts.append(at), report=losses.append)
    adapt(suite, tmp_path / "one", FEW, jobs=1)
    for task in TASKS:
        name = f"{task}.safetensors"
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
        assert [loss.step for loss in losses if loss.task == task] == list(range(1, FEW["steps"] + 1))
    assert counts == sorted(counts)
    assert counts[-1] == (2 * FEW["steps"], 2 * FEW["steps"])
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [
        "Blues.safetensors",
        "Reds.safetensors",
        "resolve.json",
    ]


def test_a_cancelled_run_is_kept_and_an_error_of_one_worker_is_one_message(suite: str, tmp_path: Path):
    def cancel(done: int, total: int) -> None:
        if done > 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        adapt(suite, tmp_path, LONG, progress=cancel)
    assert (tmp_path / "run.json").exists()
    assert not list(tmp_path.glob("*.features"))
    (tmp_path / "Reds-state.pt").write_bytes(b"no state")
    with pytest.raises(InputError, match=r"Reds-state\.pt: expected a saved state"):
        adapt(suite, tmp_path, LONG, resume=True)


def test_a_worker_that_is_killed_is_named_and_the_run_resumes(suite: str, tmp_path: Path):
    killed = list[int]()

    def kill(_: Losses) -> None:
        if not killed:
            children = [each for each in multiprocessing.active_children() if "ri-analysis-worker" in each.name]
            killed.extend(each.pid for each in children if each.pid is not None)
            os.kill(killed[-1], signal.SIGKILL)

    with pytest.raises(InputError, match=r"one of 2 worker processes was killed from outside \(exit code -9\); is"):
        adapt(suite, tmp_path / "set", LONG, report=kill)
    assert len(killed) == 2


def adapt_and_tell(suite: str, folder: Path, told: Path) -> None:
    adapt(suite, folder, LONG, report=lambda _: told.touch())


def test_workers_end_with_the_process_that_started_them(suite: str, tmp_path: Path):
    parent = started.call(adapt_and_tell, suite, tmp_path / "set", tmp_path / "told")
    while not (tmp_path / "told").exists():  # a step was taken
        assert parent.poll() is None
        time.sleep(0.05)
    children = [int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()]
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 300
    while any("spawn_main" in _command(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any("spawn_main" in _command(pid) for pid in children)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def _interrupt(item: int, tell: Tell) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    tell(item)


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals here")
def test_ctrl_c_ends_the_process_that_hands_out_the_work_and_reaches_no_worker():
    heard = list[int]()
    side_by_side(1, _interrupt, [7], heard.append)
    assert heard == [7]


def test_where_no_worker_can_be_started_that_is_one_message(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    # A name in text would be looked up in `loky.backend`, which holds multiprocessing's until its own is imported.
    monkeypatch.setattr(import_module("loky.backend.synchronize"), "_SemLock", refuse)
    says = r"no worker processes can be started: no space left on device .*/dev/shm.*--jobs 1"
    with pytest.raises(InputError, match=says):
        side_by_side(2, _say, [1, 2], lambda _: None)
    with pytest.raises(InputError, match=says), process_pool(2)():
        pass


def _rest(_: int) -> None:
    time.sleep(600)


def test_a_pool_that_is_left_ends_what_its_workers_are_doing():
    started = time.monotonic()
    with process_pool(1)() as pool:
        assert pool.submit(abs, -3).result(120) == 3
        works = [pool.submit(_rest, 0) for _ in range(4)]
        while not works[0].running():
            time.sleep(0.01)
        for work in works:
            work.cancel()  # as a crew does; what has begun goes on
    assert works[0].exception(30) is not None
    assert time.monotonic() - started < 150


def _say(item: int, tell: Tell) -> None:
    tell((item, worker_number()))


def test_what_workers_say_is_heard():
    heard = list[tuple[int, int]]()
    side_by_side(2, _say, [1, 2, 3, 4], heard.append)
    assert sorted(item for item, _ in heard) == [1, 2, 3, 4]
    assert {number for _, number in heard} <= {0, 1}
    assert threads_each(10**6) == 1


def _say_nothing(seconds: float, _: Tell) -> None:
    time.sleep(seconds)


def test_silent_work_can_be_cancelled():
    def cancel() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        side_by_side(1, _say_nothing, [3600.0], print, cancel)
