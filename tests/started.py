"""Commands in processes of their own that begin with PyTorch loaded, which takes most of a short command's time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any
from unittest import mock

from ri_analysis import views

# Elsewhere each process loads all by itself: PyTorch can't be forked there.
_CONTEXT: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
_LOADED = [
    "ri_analysis.cli",
    "ri_analysis.api",
    "ri_analysis.resolving",
    "ri_analysis.ui.shell",
    "sklearn.decomposition",
]


class Started:
    """A process, with what tests use of `subprocess.Popen`."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self.pid: int = process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, −n where signal n ended it; None until then."""
        code: int | None = self._process.exitcode
        return code

    def poll(self) -> int | None:
        """Return the exit code, None until it has ended."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit code. Raises TimeoutError."""
        self._process.join(timeout)
        if (code := self.returncode) is None:
            raise TimeoutError(f"process {self.pid} has not ended within {timeout} s")
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def call(function: Callable[..., None], *arguments: Any) -> Started:
    """Start a process that calls an importable function."""
    _CONTEXT.set_forkserver_preload(
        [*_LOADED, *(f"ri_analysis.views.{each.name}" for each in iter_modules(views.__path__))]
    )
    process = _CONTEXT.Process(target=function, args=arguments)
    # Tests of pages leave their script as the main module, which a new process would run.
    with mock.patch.dict(sys.modules, {"__main__": ModuleType("__main__")}):
        process.start()
    return Started(process)


def command(
    words: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    out: Path | None = None,
    err: Path | None = None,
    before: Callable[[], None] | None = None,
) -> Started:
    """Start a command of ri-analysis in this folder, in this environment or another one; it writes to files, if any.

    `before`, which must be importable, is called in its process first.
    """
    variables = dict(os.environ if environment is None else environment)
    written = str(out or os.devnull), str(err or os.devnull)
    return call(_command, list(words), variables, str(Path.cwd()), *written, before)


def _command(
    words: list[str], variables: dict[str, str], folder: str, out: str, err: str, before: Callable[[], None] | None
) -> None:
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    for name, number in ((out, 1), (err, 2)):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, closefd=False) for number in (1, 2))
    from ri_analysis.cli import main

    if before is not None:
        before()
    sys.argv = ["ri-analysis", *words]
    code = main()
    with suppress(OSError):
        sys.stderr.flush()
    sys.stderr = None  # as Python does it at the end, no matter whether that could be written
    sys.exit(code)
