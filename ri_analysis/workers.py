"""Work that several processes of this machine do side by side, and what they say meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process
from queue import Empty
from threading import Thread
from typing import Any, NamedTuple, TypeVar

from ri_analysis.errors import Cancelled, InputError

Item = TypeVar("Item")
Tell = Callable[[Any], None]
"""Says something to the process that handed out the work; raises Cancelled where that one wants an end."""

_HEARD_EVERY = 0.1  # seconds


class _Line(NamedTuple):
    """What connects a worker with the process that handed out the work; `joined` counts the workers."""

    messages: Any
    stop: Any
    joined: Any


_line: _Line | None = None  # of this process, where it is a worker
_number = 0


def threads_each(jobs: int) -> int:
    """Return how many threads each of `jobs` workers on this machine may use."""
    return max(1, (os.cpu_count() or 1) // jobs)


def worker_number() -> int:
    """Return which of the workers this process is, counted from 0."""
    return _number


def side_by_side(
    jobs: int, function: Callable[[Item, Tell], None], items: Sequence[Item], hear: Callable[[Any], None]
) -> None:
    """Call `function` with every item, in `jobs` processes; `hear` is given what it tells, and may raise Cancelled.

    `function` and the items must be picklable. An error of one ends the others at their next word, and is raised here.
    Raises InputError where a process ends without a word. They end
    when this one does, whatever ends it.
    """
    # Spawned, not forked: a forked child inherits the locks of PyTorch's threads.
    context = get_context("spawn")
    line = _Line(context.Queue(), context.Event(), context.Value("i", 0))
    with ProcessPoolExecutor(min(jobs, len(items)), context, _join, (line,)) as pool:
        pending: set[Future[None]] = {pool.submit(_call, function, item) for item in items}
        try:
            while pending:
                done, pending = wait(pending, _HEARD_EVERY, FIRST_COMPLETED)
                _listen(line, hear)
                for future in done:
                    future.result()
        except BrokenProcessPool as error:
            raise InputError(
                f"one of {jobs} worker processes was ended from outside; is there enough memory for all of them?"
            ) from error
        finally:
            line.stop.set()
            for future in pending:
                future.cancel()
    _listen(line, hear)


def _listen(line: _Line, hear: Callable[[Any], None]) -> None:
    while True:
        try:
            message = line.messages.get_nowait()
        except Empty:
            return
        hear(message)


def _join(line: _Line) -> None:
    global _line, _number
    Thread(target=_end_with_parent, name="ri-analysis-end", daemon=True).start()
    line.messages.cancel_join_thread()  # the end of a worker must not wait for somebody to listen
    with line.joined.get_lock():
        _line, _number = line, line.joined.value
        line.joined.value += 1


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None  # or this would be no worker
    connection.wait([parent.sentinel])
    os._exit(1)


def _call(function: Callable[[Any, Tell], None], item: Any) -> None:
    function(item, _tell)


def _tell(message: Any) -> None:
    assert _line is not None  # or this would be no worker
    if _line.stop.is_set():
        raise Cancelled
    _line.messages.put(message)
