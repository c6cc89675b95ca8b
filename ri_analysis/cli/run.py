"""What the shell calls: a command is run, and whatever goes wrong becomes one message and an exit code."""

from __future__ import annotations

import argparse
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from ri_analysis import __version__, memory
from ri_analysis.cli import app, beginning, comparing, measuring, study, suites, writing
from ri_analysis.cli.flags import Parser
from ri_analysis.errors import TOLD_TO_END, Cancelled, InputError, bounded

_LONGEST = 2000  # characters of an error message
_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 done, 2 bad input, 141 nobody reads the output.

    Ended by a signal, what a shell says of that: 129, 130 or 143.
    """
    _escape_what_cannot_be_printed()
    with _ended_by_signals():
        try:
            code = _run(arguments)
        except (Exception, KeyboardInterrupt) as error:
            if not TOLD_TO_END and not isinstance(error, KeyboardInterrupt | Cancelled):
                return _explained(error)
        else:
            if not TOLD_TO_END:
                return code
        # Also where a library that the signal met made an error of its own of it, or went on.
        _say_last("stopped")
        return 128 + (TOLD_TO_END[0] if TOLD_TO_END else signal.SIGINT)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Have the signals that tell a process to end raise KeyboardInterrupt: nothing half-written stays behind.

    The second time the system ends it at once. `nohup` stays in force.
    """

    def end(number: int, _: object) -> None:
        TOLD_TO_END.append(number)
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    usual = (signal.SIG_DFL, signal.default_int_handler)
    in_main_thread = threading.current_thread() is threading.main_thread()
    taken = {number: found for number in _ENDING if in_main_thread and (found := signal.getsignal(number)) in usual}
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        TOLD_TO_END.clear()
        for number, found in taken.items():
            signal.signal(number, found)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = build_parser().parse_args(arguments)
        command: Callable[[argparse.Namespace], int] = options.run
        if getattr(options, "memory", None) is not None:
            memory.declare(options.memory)
        with memory.explained():
            memory.enforce()
            if hasattr(options, "plugin"):
                _load_plugins(options)
            return command(options)
    finally:
        sys.stdout.flush()  # here, where it is seen if that fails


def _explained(error: BaseException) -> int:
    """Say in one message what went wrong; return the exit code. Raises again what nobody but a programmer can mend."""
    if isinstance(error, InputError):
        return _failed(str(error))
    if isinstance(error, BrokenPipeError):
        _close_output()
        return 141  # what a shell says of a program that a closed pipe ends
    if not isinstance(error, OSError):
        raise error
    from ri_analysis.files import in_words

    if error.filename is not None:
        return _failed(f"{os.fsdecode(error.filename)}: {in_words(error)}")
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        raise error
    _close_output()
    return _failed(f"the output can't be written: {in_words(error)}")


def _escape_what_cannot_be_printed() -> None:
    """Print what the terminal's encoding lacks, and file names that are not valid text, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # under a test or in a notebook it may be something else
            stream.reconfigure(errors="backslashreplace")


def _load_plugins(options: argparse.Namespace) -> None:
    """Load what the environment and --plugin name, and all that is installed: but the app what its operator named."""
    from ri_analysis import plugins

    installed = [] if options.command == "app" else plugins.installed()
    plugins.load([*plugins.named(), *options.plugin, *installed], lambda text: print(f"note  {text}", file=sys.stderr))


def _failed(message: str) -> int:
    """Print one message, cut in the middle where it is very long; return the exit code."""
    message = bounded(message)
    if len(message) > _LONGEST:
        left_out = len(message) - _LONGEST
        message = f"{message[: _LONGEST // 2]} … ({left_out:,} characters) … {message[-_LONGEST // 2 :]}"
    _say_last(message)
    return 2


def _say_last(message: str) -> None:
    over_the_bar = "\r\033[K" if sys.stderr.isatty() else ""
    with suppress(OSError):  # a terminal that was closed, a full disk: the exit code says it as well
        print(f"{over_the_bar}ri-analysis: {message}", file=sys.stderr)


def _close_output() -> None:
    """Let nothing more be written to an output that takes nothing: Python would try once more at its end."""
    with suppress(OSError):  # under a test, stdout is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="ri-analysis", description="Measure and resolve cross-task interference in model merging.")
    parser.add_argument("--version", action="version", version=f"ri-analysis {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for group in (app, suites, measuring, comparing, study, writing, beginning):
        group.add_commands(commands)
    return parser
