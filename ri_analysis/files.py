"""Files that are either whole or absent, and names for their content."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from ri_analysis.errors import InputError, WriteError
from ri_analysis.stamps import Stamp, require_unchanged

_PART = ".part"  # in the names of temporary files
_ABANDONED = 3600.0  # seconds


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the name `path` when the block ends without an error.

    The folder is created. After an error nothing is left behind and an older `path` stays as it was; what a killed
    run has left is removed. Raises WriteError, naming `path`, where the system does not let it be written.
    """
    beside: tuple[Path, ...] = (path, path.parent)
    try:
        _refuse_what_is_no_file(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix, suffix = _temporary_name(path)
        _remove_abandoned(path.parent, prefix)
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        beside = (*beside, temporary)
        try:
            yield temporary
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        about = None if error.filename is None else Path(os.fsdecode(error.filename))
        if isinstance(error, WriteError) or not (about is None or about in (*beside, *path.parents)):
            raise  # about another file, which the block reads
        raise WriteError(f"{path}: can't be written: {in_words(error)}") from error


def check_target(path: Path) -> None:
    """Raise WriteError where `path` can't be written, which is to be known before long work. Nothing is left there."""
    try:
        _refuse_what_is_no_file(path)
        missing = [path]
        while not missing[-1].parent.exists():
            missing.append(missing[-1].parent)
        for part in missing:
            with suppress(FileNotFoundError):
                (missing[-1].parent / part.name).lstat()  # fails otherwise where the name is too long
        with tempfile.TemporaryFile(dir=missing[-1].parent):
            pass
    except OSError as error:
        if isinstance(error, WriteError):
            raise
        raise WriteError(f"{path}: can't be written: {in_words(error)}") from error


def in_words(error: OSError) -> str:
    """Return what the system says is wrong, in words, with the folder in the way where that is it."""
    if isinstance(error, FileExistsError | NotADirectoryError) and error.filename is not None:
        return f"{_nearest(Path(os.fsdecode(error.filename)))} is a file, not a folder"
    return (error.strerror or str(error)).lower()


def _nearest(path: Path) -> Path:
    """Return the part of `path` that is a file where a folder was expected."""
    return next((part for part in (path, *path.parents) if part.is_file()), path)


def _refuse_what_is_no_file(path: Path) -> None:
    if path.is_dir():
        raise WriteError(f"{path}: expected a file to write, found a folder")
    if path.exists() and not path.is_file():  # to take the name of /dev/null would be the end of it
        raise WriteError(f"{path}: expected a file to write, found a device or pipe")


def _temporary_name(path: Path) -> tuple[str, str]:
    """Return how names of `path`'s temporary files begin and end: they tell whose they are, and are never too long."""
    return f".{path.stem[:40]}-{digest(path.name)[:8]}-", f"{_PART}{path.suffix[:20]}"


def _remove_abandoned(folder: Path, prefix: str) -> None:
    """Remove temporary files that nothing was written to for long: the run that made them was killed."""
    for name in os.listdir(folder):
        if name.startswith(prefix) and _PART in name:
            with suppress(OSError):  # another process may be removing it too
                if time.time() - (folder / name).stat().st_mtime > _ABANDONED:
                    (folder / name).unlink()


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def digest(*parts: str | bytes) -> str:
    """Return 32 hex digits that name the sequence of `parts` (BLAKE2b; lengths are hashed too)."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


def file_digest(path: Path) -> str:
    """Return the content digest of the file at `path`; unchanged files are hashed once per process.

    Raises InputError for a file that is not there, or changes meanwhile.
    """
    try:
        stamp = Stamp.settled(path)
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, found none ({error.strerror})") from error
    return _file_digest(path, stamp)


@lru_cache(maxsize=4096)
def _file_digest(path: Path, stamp: Stamp) -> str:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    require_unchanged(path, stamp)
    return found
