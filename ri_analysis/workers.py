"""Work that several processes of this machine do side by side, and what they say meanwhile."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import connection
from queue import Empty
from typing import Any, NamedTuple, TypeVar

from loky.backend.context import LokyContext

from ri_analysis.errors import InputError
from ri_analysis.files import in_words
from ri_analysis.memory import divide, require_for

Item = TypeVar("Item")
Tell = Callable[[Any], None]
"""Says something to the process that handed out the work."""

_HEARD_EVERY = 0.1  # seconds
_number = 0  # of this process, where it is a worker


class _Line(NamedTuple):
    """What connects the workers with the process that hands out the work: places of items, and one None a worker."""

    messages: Any
    places: Any
    life: Any


class _Failed(NamedTuple):
    """What went wrong in a worker."""

    error: Exception


def threads_each(jobs: int) -> int:
    """Return how many threads each of `jobs` workers on this machine may use."""
    return max(1, (os.cpu_count() or 1) // jobs)


def worker_number() -> int:
    """Return which of the workers this process is, counted from 0."""
    return _number


def fresh_processes() -> Any:
    """Return a context of multiprocessing whose processes have an interpreter of their own, and run no script.

    Not forked: a forked child inherits the locks of PyTorch's threads. Nor spawned as Python does it, which runs the
    main script again in each child: under Streamlit that is the page, and its errors would end the child.
    """
    return LokyContext()  # not by its name: joblib brings a copy of its own, and what was imported last has that


@contextmanager
def starting() -> Iterator[None]:
    """Start worker processes within. A command's ignore Ctrl-C, which a terminal sends to all: the command ends them.

    Raises InputError where the system lets none be started.
    """
    inherited = threading.current_thread() is threading.main_thread()  # no other may set it
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if inherited else None
    try:
        yield
    except OSError as error:
        raise InputError(
            f"no worker processes can be started: {in_words(error)} (is there room in /dev/shm, and may more files and "
            "processes be open?); use --jobs 1"
        ) from error
    finally:
        if inherited:
            signal.signal(signal.SIGINT, before)


@contextmanager
def lifeline() -> Iterator[Any]:
    """Yield what workers hold on to, see `hold_on`; it is torn when this process ends, however that comes."""
    theirs, ours = connection.Pipe(duplex=False)
    with theirs, ours:
        yield theirs


def hold_on(line: Any) -> None:
    """End this worker when the process that made the lifeline does."""

    def wait() -> None:
        connection.wait([line])
        os._exit(1)

    threading.Thread(target=wait, name="ri-analysis-end", daemon=True).start()


def side_by_side(
    jobs: int,
    function: Callable[[Item, Tell], None],
    items: Sequence[Item],
    hear: Callable[[Any], None],
    alive: Callable[[], None] = lambda: None,
) -> None:
    """Call `function` with every item, in `jobs` processes; `hear` is given what it tells.

    `alive` is called now and then, also while nothing is told; both may raise Cancelled.
    `function` and the items must be picklable. Whatever is raised here or in a worker ends all of them, so what they
    write must bear that. Raises InputError where one ends without a word. They end when this process does.
    """
    require_for(jobs)
    context = fresh_processes()
    with lifeline() as life:
        with starting():
            line = _Line(context.Queue(), context.Queue(), life)
        count = min(jobs, len(items))
        for place in [*range(len(items)), *[None] * count]:
            line.places.put(place)
        workers = [
            context.Process(
                target=_work, args=(line, number, jobs, function, items), name=f"ri-analysis-worker-{number}"
            )
            for number in range(count)
        ]
        try:
            with starting():
                for worker in workers:
                    worker.start()
            _wait_for(workers, line, hear, alive)
        finally:
            for worker in workers:
                if worker.pid is not None:
                    worker.terminate()
                    worker.join()


def _wait_for(workers: Sequence[Any], line: _Line, hear: Callable[[Any], None], alive: Callable[[], None]) -> None:
    """Listen to workers until all have ended; raise InputError where one ended without a word."""
    running = workers
    while running:
        ready = connection.wait([worker.sentinel for worker in running], _HEARD_EVERY)
        ended = [worker for worker in running if worker.sentinel in ready]
        running = [worker for worker in running if worker not in ended]
        for worker in ended:
            worker.join()  # its sentinel speaks a moment before its exit code is there
        _listen(line, hear)
        alive()
        if codes := [str(worker.exitcode) for worker in ended if worker.exitcode]:
            raise InputError(
                f"one of {len(workers)} worker processes was killed from outside (exit code {', '.join(codes)}); is "
                "there enough memory for all of them?"
            )
    _listen(line, hear, sys.maxsize)


def _listen(line: _Line, hear: Callable[[Any], None], most: int = 1000) -> None:
    # A share of it at once: workers may talk faster than they are heard.
    for _ in range(most):
        try:
            message = line.messages.get_nowait()
        except Empty:
            return
        if isinstance(message, _Failed):
            raise message.error
        hear(message)


def _work(line: _Line, number: int, jobs: int, function: Callable[[Any, Tell], None], items: Sequence[Any]) -> None:
    """Do items until none is left, in a worker."""
    global _number
    _number = number
    divide(jobs)
    hold_on(line.life)
    try:
        while (place := line.places.get()) is not None:
            function(items[place], line.messages.put)
    except Exception as error:  # raised again where the work was handed out
        line.messages.put(_Failed(error))
    line.messages.close()
    line.messages.join_thread()
