"""Commands of ri-analysis in forked children, so that PyTorch is loaded once, and what came of each."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

LIMIT = 180.0  # seconds a command may take, after which it hangs
ENDING = 60.0  # seconds until the workers of a command that was killed have noticed: first, they load all they need
HUNG = 1000  # as an exit code
LOADED = (
    *("cli", "api", "engine", "resolving", "studies.output", "analyses", "merging.with_data.distilled"),
    *("export.report", "export.standard", "export.glyphs", "export.models", "suite.drafting.draft"),
)


@dataclass(frozen=True)
class Outcome:
    """Of a command: its exit code, −n where signal n ended it, what it wrote, and how many processes it left behind."""

    code: int
    out: str
    err: str
    seconds: float
    processes: int


def load(home: Path) -> None:
    """Load what commands use; keep what they write in `home`; save training after every step."""
    os.environ |= {"XDG_DATA_HOME": str(home), "OMP_NUM_THREADS": "1"}
    import torch

    torch.set_num_threads(1)  # a forked child has none of its parent's threads
    for name in LOADED:
        import_module(f"ri_analysis.{name}")
    from ri_analysis.training import descent

    descent.SAVE_SECONDS = -1.0


def run(
    arguments: Sequence[str],
    strike: Callable[[int], None] | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path = Path(),
) -> Outcome:
    """Run a command in `folder` to its end, some variables of its environment other than here.

    `strike` is given its process id, which is also that of its group, while it runs.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.monotonic()
        process = os.fork()
        if not process:
            os.chdir(folder)
            os.environ |= environment or {}
            _command(arguments, out.fileno(), err.fileno())
        with suppress(PermissionError):  # the child was first
            os.setpgid(process, process)
        try:
            if strike is not None:
                strike(process)
            code = _awaited(process, started + LIMIT)
        except BaseException:  # such as Ctrl-C, which a group of its own does not hear
            os.killpg(process, signal.SIGKILL)
            raise
        seconds = time.monotonic() - started
        processes = _left(process)
        out.seek(0)
        err.seek(0)
        return Outcome(code, out.read().decode(), err.read().decode(errors="replace"), seconds, processes)


def _command(arguments: Sequence[str], out: int, err: int) -> None:
    """Be the command, in the child; never return."""
    code = 1
    try:
        os.setpgid(0, 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, closefd=False) for number in (1, 2))
        from ri_analysis.cli import main

        code = main(list(arguments))
        sys.stdout.flush()
    except KeyboardInterrupt:  # before or after the command
        code = 128 + signal.SIGINT
    except SystemExit as ended:  # the parser of the command line
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _awaited(process: int, until: float) -> int:
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return HUNG
        time.sleep(0.005)


def _left(group: int) -> int:
    """Return how many processes of a group are left after some seconds, and end them."""
    until = time.monotonic() + ENDING
    while (left := _members(group)) and time.monotonic() < until:
        time.sleep(0.05)
    for process in left:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return len(left)


def _members(group: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _, of = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(of) == group and state != "Z":
                found.append(int(folder.name))
    return found
