"""One process at a time does a piece of work that writes files; the others wait and take over what it made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ri_analysis.errors import WriteError
from ri_analysis.files import in_words

_SECONDS = 0.5  # between two looks


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of what is written to `path`; `waiting` is called while another holds it, and may raise Cancelled.

    The lock goes with the process that holds it, however that ends. Sessions of one process wait for one another, too.
    Raises WriteError, naming `path`, where no lock can be written.
    """
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    while not _acquired(lock, path):
        waiting()
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: FileLock, path: Path) -> bool:
    """Wait a moment for a lock; return whether it is held, or can't be: on a file system without locks."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=_SECONDS)
    except Timeout:
        return False
    except NotImplementedError:
        return True
    except OSError as error:
        raise WriteError(f"{path}: can't be written: {in_words(error)}") from error
    return True
