"""Files that are either whole or absent, and names for their content."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path

from ri_analysis.errors import InputError, WriteError
from ri_analysis.stamps import Stamp, require_unchanged

if sys.platform != "win32":
    import fcntl

# The names of temporary files, whatever they are written for.
_PART = re.compile(r"\..{0,40}-[0-9a-f]{8}-[a-z0-9_]{8}\.part(\..{0,19})?", re.DOTALL)
# Seconds since something was last written to one whose writer no longer holds it, or where that can't be told.
_LEFT, _ABANDONED = 60.0, 3600.0


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the name `path` when the block ends without an error.

    The folder is created. After an error nothing is left behind and an older `path` stays as it was; what killed runs
    have left there is removed. Raises WriteError, naming `path`, where the system does not let it be written.
    """
    try:
        _refuse_what_is_no_file(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        prefix, suffix = _temporary_name(path)
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=path.parent)
        temporary = Path(name)
        with _held(handle):
            try:
                yield temporary
                temporary.chmod(0o644)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error, WriteError) or not _is_about(error, path):
            raise  # about another file, which the block reads
        raise WriteError(f"{path}: can't be written: {in_words(error)}") from error


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`, which the block may rename to it; else it is gone with the block.

    What killed runs have left there is removed. Raises WriteError, naming `path`, where the system lets none be made,
    or a file in it be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        prefix, suffix = _temporary_name(path)
        folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=path.parent))
        handle = None if sys.platform == "win32" else os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise WriteError(f"{path}: can't be written: {in_words(error)}") from error
    try:
        with nullcontext() if handle is None else _held(handle):
            yield folder
    except WriteError as error:
        if not (isinstance(error.__cause__, OSError) and error.args[0].startswith(f"{folder}{os.sep}")):
            raise
        raise WriteError(f"{path}: can't be written: {in_words(error.__cause__)}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
        _remove_abandoned(missing[-1].parent)
    except OSError as error:
        if isinstance(error, WriteError):
            raise
        raise WriteError(f"{path}: can't be written: {in_words(error)}") from error


def in_words(error: OSError) -> str:
    """Return what the system says is wrong, in words, with the folder in the way where that is it."""
    if isinstance(error, FileExistsError | NotADirectoryError) and error.filename is not None:
        return f"{_nearest(Path(os.fsdecode(error.filename)))} is a file, not a folder"
    return (error.strerror or str(error)).lower()


def _is_about(error: OSError, path: Path) -> bool:
    """Whether an error is about `path`, a folder above it, or a temporary file beside it, even one that wasn't made."""
    if error.filename is None:
        return True
    about, path = Path(os.fsdecode(error.filename)).absolute(), path.absolute()
    return about in (path, *path.parents) or (about.parent == path.parent and bool(_PART.fullmatch(about.name)))


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
    return f".{path.stem[:40]}-{digest(path.name)[:8]}-", f".part{path.suffix[:20]}"


@contextmanager
def _held(handle: int) -> Iterator[None]:
    """Hold a temporary file while the block writes it, for others to see; a killed process holds nothing."""
    if sys.platform == "win32":  # which replaces no file that is open
        os.close(handle)
        yield
        return
    try:
        with suppress(OSError):
            _hold(handle)
        yield
    finally:
        os.close(handle)


def _hold(handle: int) -> bool:
    """Hold a file as long as it is open; return whether this system can. Raises BlockingIOError where another does."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks
        return False
    return True


def remove_left(folder: Path) -> None:
    """Remove at once what killed runs have left in a folder that nobody else writes to."""
    _remove_abandoned(folder, 0.0)


def _remove_abandoned(folder: Path, left: float = _LEFT) -> None:
    """Remove temporary files whose writer was killed: nobody holds them, and nothing was written to them for a while.

    The while is for one that was made a moment ago, and is not held yet.
    """
    for name in os.listdir(folder):
        if _PART.fullmatch(name) is not None:
            with suppress(OSError):  # another process may be removing it too
                _remove_if_abandoned(folder / name, left)


def _remove_if_abandoned(path: Path, left: float) -> None:
    age = time.time() - path.stat().st_mtime
    if age < left:
        return
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    try:
        if _hold(handle) or age > _ABANDONED:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def digest(*parts: str | bytes) -> str:
    """Return 32 hex digits that name the sequence of `parts` (BLAKE2b; lengths are hashed too)."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        # File names need not be valid text.
        data = part.encode(errors="surrogatepass") if isinstance(part, str) else part
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
