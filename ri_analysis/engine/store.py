"""Answers kept on disk under the digest of everything they depend on."""

from __future__ import annotations

import io
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from platformdirs import user_data_path

from ri_analysis.errors import InputError
from ri_analysis.files import in_words

Arrays = dict[str, npt.NDArray[np.generic]]

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

    Where nothing can be written any more (a read-only folder, a full disk), it answers what it holds, says so once on
    stderr, and keeps new answers in memory. Raises InputError for a folder that holds no store and can't be written,
    and for a damaged file.
    """

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self._path = workspace / "store.sqlite"
        self._lock = threading.Lock()
        self._unwritten: dict[str, Arrays] = {}
        self._said = False
        try:
            workspace.mkdir(parents=True, exist_ok=True)
            self._connection = self._connect(self._path)
            self._set_up()
        except (OSError, sqlite3.OperationalError) as error:
            why = in_words(error) if isinstance(error, OSError) else str(error)
            if not self._open_to_read():
                raise InputError(
                    f"{self._path}: expected a workspace that can be written, found: {why}; name another folder by "
                    f"--workspace"
                ) from error
            self._say_once(why)
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from error

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

    def get(self, key: str) -> Arrays | None:
        """Return the arrays kept under `key`, None when there are none."""
        row = self._row("SELECT value FROM answers WHERE key = ?", key)
        if row is None:
            return self._unwritten.get(key)
        with np.load(io.BytesIO(row[0]), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def has(self, key: str) -> bool:
        """Whether something is kept under `key`."""
        return self._row("SELECT 1 FROM answers WHERE key = ?", key) is not None or key in self._unwritten

    def record(self, key: str) -> Record | None:
        """Return how the answer under `key` came about, None when that was not noted."""
        row = self._row("SELECT description, versions, seconds FROM records WHERE key = ?", key)
        return None if row is None else Record(*row)

    def put(self, key: str, arrays: Mapping[str, npt.NDArray[np.generic]], record: Record | None = None) -> None:
        """Keep `arrays` under `key`; an answer already there stays (it is the same one)."""
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        row = (key, buffer.getvalue(), time.time())
        try:
            with self._guarded(), self._connection:
                self._connection.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", row)
                if record is not None:
                    values = (key, record.description, record.versions, record.seconds)
                    self._connection.execute("INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?)", values)
        except sqlite3.OperationalError as error:  # an answer that can't be kept is still an answer
            self._say_once(str(error))
            self._unwritten[key] = dict(arrays)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _row(self, query: str, key: str) -> tuple[Any, ...] | None:
        try:
            with self._guarded():
                row: tuple[Any, ...] | None = self._connection.execute(query, (key,)).fetchone()
                return row
        except sqlite3.OperationalError as error:
            raise InputError(f"{self._path}: can't be read: {error}") from error

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Hold the lock, and say in words that the file is damaged where it is."""
        with self._lock:
            try:
                yield
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                raise self._damaged(error) from error

    def _damaged(self, error: sqlite3.DatabaseError) -> InputError:
        return InputError(
            f"{self._path}: expected the store of a workspace, found: {error}; move the file away, its answers are "
            f"then computed again"
        )

    def _say_once(self, why: str) -> None:
        if not self._said:
            self._said = True
            print(f"note  {self._path}: new answers are not kept: {why}", file=sys.stderr)
