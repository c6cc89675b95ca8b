"""One process at a time does a piece of work that writes files; the others wait and take over what it made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_SECONDS = 0.5  # between two looks


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of what is written to `path`; `waiting` is called while another holds it, and may raise Cancelled.

    The lock goes with the process that holds it, however that ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    while not lock.is_locked:
        try:
            lock.acquire(timeout=_SECONDS)
        except Timeout:
            waiting()
    try:
        yield
    finally:
        lock.release()
