"""Which file it was that was read: what was read of one must not be kept under the name of another."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple, Protocol

from ri_analysis.allowed import require_file
from ri_analysis.errors import ChangedFile

_SPARING = 20  # times as long as it takes to look at many files, until they are looked at again
_SETTLED = 0.02  # seconds after which a change gives a file another time, on file systems that count in nanoseconds


class Stamp(NamedTuple):
    """A file's identity, size in bytes, and times of its content and of its entry in the file system, nanoseconds.

    The last one can't be set by hand: it differs for a file that took another's place with the same size and time.
    """

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, file: Path | int) -> Stamp:
        """Return the stamp of the file at a path, or of the one that an open handle leads to. Raises OSError."""
        found = os.stat(file)
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    @classmethod
    def settled(cls, path: Path) -> Stamp:
        """Return the stamp of the file at `path`, such that any later change gives it another.

        Raises OSError, InputError for a pipe or device, and Outside for a file that may not be read: whatever is opened
        by a name that a user gave is stamped before.
        """
        require_file(path)
        found = cls.of(path)
        if 0 <= time.time() - found.changed / 1e9 < _SETTLED:
            time.sleep(_SETTLED)
            found = cls.of(path)
        return found


def require_unchanged(path: Path, stamp: Stamp, handle: int | None = None) -> None:
    """Raise ChangedFile where the file at `path` (or an open `handle` of it) is not the one with `stamp`, unchanged."""
    if not _is(path if handle is None else handle, stamp):
        raise ChangedFile(f"{path}: changed since it was opened; open the suite again")


class Many(Protocol):
    """Files that are very many."""

    def changed(self) -> Path | None:
        """Return one that is not what it was, None when there is none."""


class Watch:
    """Files as they were when they were first read.

    What `reading` is told of within `noting` is watched from then on.
    """

    def __init__(self) -> None:
        self._stamps: dict[Path, Stamp] = {}
        self._many: list[Many] = []
        self._pause = 0.0  # until when `changed_anywhere` leaves many files alone

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Watch what is read within the block."""
        token = _noting.set(self)
        try:
            yield
        finally:
            _noting.reset(token)

    def note(self, path: Path, stamp: Stamp) -> None:
        """Watch the file at `path`; where it is watched already, what it was at first counts."""
        self._stamps.setdefault(path, stamp)

    @property
    def known(self) -> list[Path]:
        """The files that are watched, but for those that are very many."""
        return list(self._stamps)

    def changed(self) -> Path | None:
        """Return a watched file that is not what it was, None when there is none."""
        return next((path for path, stamp in list(self._stamps.items()) if not _is(path, stamp)), None)

    def note_many(self, files: Many) -> None:
        """Watch files that are too many to be looked at each time: those who read one compare it themselves."""
        self._many.append(files)

    def changed_anywhere(self) -> Path | None:
        """Return what `changed` does, or one of many files; those are looked at for a twentieth of the time at most."""
        found = self.changed()
        if found is not None or time.monotonic() < self._pause:
            return found
        started = time.monotonic()
        found = next((path for files in list(self._many) if (path := files.changed()) is not None), None)
        self._pause = started + _SPARING * (time.monotonic() - started)
        return found

    def check(self) -> None:
        """Raise ChangedFile naming a watched file that is not what it was."""
        path = self.changed()
        if path is not None:
            require_unchanged(path, self._stamps[path])


_noting: ContextVar[Watch | None] = ContextVar("noting", default=None)


def reading(path: Path) -> Stamp:
    """Say that the file at `path` is going to be read; return its stamp. Raises as `Stamp.settled` does."""
    stamp, watch = Stamp.settled(path), _noting.get()
    if watch is not None:
        watch.note(path, stamp)
    return stamp


def reading_many(files: Many) -> None:
    """Say that some of very many files are going to be read."""
    watch = _noting.get()
    if watch is not None:
        watch.note_many(files)


def _is(file: Path | int, stamp: Stamp) -> bool:
    try:
        return Stamp.of(file) == stamp
    except OSError:
        return False
