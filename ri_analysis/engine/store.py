"""Answers kept on disk under the digest of everything they depend on."""

from __future__ import annotations

import hashlib
import io
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from platformdirs import user_data_path

from ri_analysis.errors import InputError
from ri_analysis.files import in_words

Arrays = dict[str, npt.NDArray[np.generic]]

_SEAL, _CHECK = b"RI-1", 16  # before an answer's bytes: what says that a check follows, and the check's length

_PATIENCE = 30.0  # seconds to wait for another process that writes
_SET_UP = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value BLOB NOT NULL, created REAL NOT NULL)",
    "CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, description TEXT NOT NULL, versions TEXT NOT NULL, "
    "seconds REAL NOT NULL)",
)


@dataclass(frozen=True)
class Record:
    """How an answer came about: what it is about and under which versions (JSON both), and how long it took."""

    description: str
    versions: str
    seconds: float


def default_workspace() -> Path:
    """Return the folder of the store and of resolved expert sets, in the user's data directory."""
    return user_data_path("ri-analysis", appauthor=False)


class Store:
    """Named arrays by key, in one SQLite file (write-ahead log: several processes may read and write).

    Every answer carries a check of its bytes. One that does not fit is dropped, so that it is measured again, and a
    file that is no store any more is set aside for a new one. Where nothing can be written any more (a read-only
    folder, a full disk), it answers what it holds, and keeps new answers in memory. All of that is said once on stderr.

    Parameters
    ----------
    workspace: the folder that the file lies in.
    guard: called before an answer is kept; raises where the answer is good for nothing.

    Raises InputError for a folder that holds no store and can't be written, and for a damaged file that can't be set
    aside.
    """

    def __init__(self, workspace: Path, guard: Callable[[], None] = lambda: None) -> None:
        self.workspace, self._guard = workspace, guard
        self._path = workspace / "store.sqlite"
        self._lock = threading.RLock()
        self._sound: set[str] = set()  # keys of answers that were looked at and fit
        self._unwritten: dict[str, Arrays] = {}
        self._said: set[str] = set()
        try:
            workspace.mkdir(parents=True, exist_ok=True)
            self._open()
        except (OSError, sqlite3.OperationalError) as error:
            why = in_words(error) if isinstance(error, OSError) else str(error)
            if not self._open_to_read():
                raise InputError(
                    f"{self._path}: expected a workspace that can be written, found: {why}; name another folder by "
                    f"--workspace"
                ) from error
            self._say_unwritten(why)

    def _open(self) -> None:
        for last in (False, True):
            self._connection = self._connect(self._path)
            self._file = _inode(self._path)
            try:
                return self._set_up()
            except sqlite3.DatabaseError as error:
                if last or not _is_damage(error):
                    raise
                self._set_aside(error)

    def _connect(self, name: Path | str, uri: bool = False) -> sqlite3.Connection:
        return sqlite3.connect(name, timeout=_PATIENCE, check_same_thread=False, uri=uri)

    def _open_to_read(self) -> bool:
        """Open what lies there without writing; return whether that is a store."""
        # `immutable` does without the files that a write-ahead log needs; it is right only where nobody writes.
        for way in ("mode=ro", "immutable=1"):
            try:
                self._connection = self._connect(f"{self._path.resolve().as_uri()}?{way}", uri=True)
                self._connection.execute("SELECT 1 FROM answers, records LIMIT 1")
                return True
            except sqlite3.Error:
                continue
        return False

    def _set_up(self) -> None:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                for statement in _SET_UP:
                    self._connection.execute(statement)
                self._connection.commit()
                return
            except sqlite3.OperationalError as error:
                # SQLite itself does not wait when two processes switch a new file to a write-ahead log at once.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
            time.sleep(0.02)

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        """Give a damaged file, with its log, another name; one that another process put there meanwhile stays."""
        self._connection.close()
        self._sound.clear()
        if _inode(self._path) != self._file:
            return
        aside = f".damaged-{time.strftime('%Y%m%d-%H%M%S')}"
        try:
            for suffix in ("", "-wal", "-shm"):
                part = Path(f"{self._path}{suffix}")
                with suppress(FileNotFoundError):  # another process is quicker
                    part.rename(f"{self._path}{aside}{suffix}")
        except OSError as failure:
            raise InputError(
                f"{self._path}: expected the store of a workspace, found: {error}; it can't be set aside: "
                f"{in_words(failure)}; name another folder by --workspace"
            ) from error
        self._say(f"can't be read ({error}); set aside as {self._path.name}{aside}, answers are measured again")

    def _ask(self, *statements: tuple[str, tuple[object, ...]]) -> tuple[Any, ...] | None:
        """Carry out statements as one; return the first row of the last. A damaged file is replaced by a new one."""
        with self._lock:
            try:
                return self._tell(statements)
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                self._set_aside(error)
                self._open()
                return self._tell(statements)

    def _row(self, query: str, key: str) -> tuple[Any, ...] | None:
        try:
            return self._ask((query, (key,)))
        except sqlite3.OperationalError as error:
            raise InputError(f"{self._path}: can't be read: {error}") from error

    def _tell(self, statements: Sequence[tuple[str, tuple[object, ...]]]) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = None
        with self._connection:
            for text, values in statements:
                row = self._connection.execute(text, values).fetchone()
        return row

    def get(self, key: str) -> Arrays | None:
        """Return the arrays kept under `key`, None when there are none."""
        row = self._row("SELECT value FROM answers WHERE key = ?", key)
        found = None if row is None else _unsealed(row[0])
        if found is not None:
            self._sound.add(key)
            return found
        if row is not None:
            self._drop(key)
        return self._unwritten.get(key)

    def has(self, key: str) -> bool:
        """Whether something is kept under `key`."""
        if key not in self._sound:
            return self.get(key) is not None
        return self._row("SELECT 1 FROM answers WHERE key = ?", key) is not None

    def record(self, key: str) -> Record | None:
        """Return how the answer under `key` came about, None when that was not noted."""
        row = self._row("SELECT description, versions, seconds FROM records WHERE key = ?", key)
        return None if row is None else Record(*row)

    def put(self, key: str, arrays: Mapping[str, npt.NDArray[np.generic]], record: Record | None = None) -> None:
        """Keep `arrays` under `key`; an answer already there stays (it is the same one)."""
        self._guard()
        wanted: list[tuple[str, tuple[object, ...]]] = [
            ("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", (key, _sealed(arrays), time.time()))
        ]
        if record is not None:
            values = (key, record.description, record.versions, record.seconds)
            wanted.append(("INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?)", values))
        try:
            self._ask(*wanted)
        except sqlite3.OperationalError as error:  # an answer that can't be kept is still an answer
            self._say_unwritten(str(error))
            self._unwritten[key] = dict(arrays)

    def _drop(self, key: str) -> None:
        """Take out an answer that is not what was kept."""
        with suppress(sqlite3.OperationalError):  # where nothing can be written it stays, and is no answer all the same
            self._ask(("DELETE FROM answers WHERE key = ?", (key,)), ("DELETE FROM records WHERE key = ?", (key,)))
        self._say("holds damaged answers; they are dropped and measured again")

    def _say_unwritten(self, why: str) -> None:
        self._say(f"new answers are not kept: {why}")

    def _say(self, what: str) -> None:
        """Say something on stderr, once."""
        if what not in self._said:
            self._said.add(what)
            print(f"note  {self._path}: {what}", file=sys.stderr)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def known(arrays: Arrays | None) -> Arrays:
    """Return an answer that is in the store. Raises InputError where it was found damaged since it was looked for."""
    if arrays is None:
        raise InputError("the store lost an answer while it was read (is the disk in order?); ask again")
    return arrays


def _sealed(arrays: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    """Return arrays as bytes that carry their own check."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    data = buffer.getvalue()
    return _SEAL + _check(data) + data


def _unsealed(value: object) -> Arrays | None:
    """Return the arrays that `_sealed` made bytes of; None where they are not what they were.

    What was kept before there was a seal is an npz file, whose parts have checks of their own.
    """
    if not isinstance(value, bytes):
        return None
    start = len(_SEAL) + _CHECK
    data = value[start:] if value.startswith(_SEAL) else value
    if data is not value and value[len(_SEAL) : start] != _check(data):
        return None
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception:  # zipfile and numpy raise nearly anything for bytes that are not theirs
        return None


def _check(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_CHECK).digest()


def _is_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _inode(path: Path) -> int:
    return path.stat().st_ino if path.exists() else 0
