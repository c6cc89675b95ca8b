"""Files whose readers can end the process are first read through in a child process, with limits on time and memory.

Arrow, parquet and MATLAB files are read by C and C++ that trusts them: damaged offsets end the process, here the
child. What it read through without harm is then read the same way by this process. That costs once: the outcome is
remembered while the file is the same.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from queue import Empty, Queue
from threading import BoundedSemaphore, Thread

import pyarrow
import scipy

from ri_analysis import limits
from ri_analysis.caches import read_note, write_note
from ri_analysis.errors import InputError
from ri_analysis.files import digest
from ri_analysis.stamps import Stamp, require_unchanged

_SCRIPT = Path(__file__).with_name("trial_child.py")
_GRACE = 10.0  # seconds that starting it may take


def try_reading(path: Path, kind: str, expected: str, memory: Path | None = None) -> None:
    """Have a child process read through the file at `path`, unless it is known to be harmless.

    `kind` is "arrow", "parquet", "answers" or "matlab"; the folder `memory` remembers the outcome. Raises InputError
    where the file is damaged, or the child dies or takes too much time or memory.
    """
    problem = _outcome(path.resolve(), kind, Stamp.settled(path), memory, limits.limit("child-bytes"))
    if problem:
        raise InputError(f"{path}: expected {expected}, found {problem}")


@lru_cache(maxsize=4096)
def _outcome(path: Path, kind: str, stamp: Stamp, memory: Path | None, _most: int) -> str:
    """Return what is wrong with the file, "" for nothing."""
    made_from = digest(kind, str(path), json.dumps(stamp), pyarrow.__version__, scipy.__version__)
    note = None if memory is None else memory / f"{made_from}.trial.json"
    if note is not None and read_note(note, made_from) == "":
        return ""
    problem = _ask(kind, str(path), limits.limit("child-seconds") * (1 + stamp.size // (1 << 30)))
    require_unchanged(path, stamp)
    if note is not None and not problem:
        write_note(note, made_from, "")
    return problem


def _ask(kind: str, path: str, seconds: int) -> str:
    """Return what is wrong with a file, "" for nothing: a child says, or how it died."""
    with _PLACES:
        for _ in range(2):  # one that waited for long may be ending
            child = _waiting.pop() if _waiting else _Child()
            answer = child.ask([kind, path, seconds], 2 * seconds + _GRACE)
            if answer:
                _waiting.append(child)
                return _in_words(json.loads(answer))
            died = _signal(child.end())
            if answer is None or died == "SIGXCPU":
                return (
                    f"a file that takes longer to read than {seconds} s ({limits.VARIABLE}=child-seconds=N allows more)"
                )
            if died != "exit code 0":
                break
    return f"damaged data that crashes the process reading it ({died})"


def _in_words(problem: str | None) -> str:
    if problem is None:
        return ""
    if "MemoryError" in problem or "malloc of size" in problem:
        return limits.beyond("child-bytes")
    return f"damaged data ({problem})"


class _Child:
    """A child process that reads through one file after the other."""

    def __init__(self) -> None:
        # Without `site` it starts in a few hundredths of a second; what it imports it finds where we do.
        command = [sys.executable, "-S", "-E", str(_SCRIPT), json.dumps(sys.path), str(limits.limit("child-bytes"))]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        self._answers = Queue[str]()
        Thread(target=self._pass_on, daemon=True).start()

    def ask(self, what: list[object], patience: float) -> str | None:
        """Return the child's answer, "" where it has died, None where there is none in time."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()
            return self._answers.get(timeout=patience)
        except Empty:
            return None
        except OSError:
            return ""

    def end(self) -> int:
        """End the process; return its exit code, the negative signal where it died of one."""
        try:
            return self._process.wait(0.5)  # it may be dying
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def _pass_on(self) -> None:
        """Pass on the lines of the process, then an empty one."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")


def _signal(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"exit code {code}"


_PLACES = BoundedSemaphore(4)  # children at once
_waiting: list[_Child] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_waiting.clear)  # their pipes are the parent's


@atexit.register
def _end_waiting() -> None:
    for child in _waiting:
        child.kill()
