"""Answers kept on disk under the digest of everything they depend on."""

from __future__ import annotations

import io
import sqlite3
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from platformdirs import user_data_path

from ri_analysis.errors import InputError

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
    """Named arrays by key, in one SQLite file (write-ahead log: several processes may read and write)."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        path = workspace / "store.sqlite"
        self._lock = threading.Lock()
        try:
            workspace.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=_PATIENCE, check_same_thread=False)
            self._set_up()
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"{path}: expected a workspace that can be written, found: {error}") from error

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
        with self._lock:
            row = self._connection.execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        with np.load(io.BytesIO(row[0]), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def has(self, key: str) -> bool:
        """Whether something is kept under `key`."""
        with self._lock:
            return self._connection.execute("SELECT 1 FROM answers WHERE key = ?", (key,)).fetchone() is not None

    def record(self, key: str) -> Record | None:
        """Return how the answer under `key` came about, None when that was not noted."""
        query = "SELECT description, versions, seconds FROM records WHERE key = ?"
        with self._lock:
            row = self._connection.execute(query, (key,)).fetchone()
        return None if row is None else Record(*row)

    def put(self, key: str, arrays: Mapping[str, npt.NDArray[np.generic]], record: Record | None = None) -> None:
        """Keep `arrays` under `key`; an answer already there stays (it is the same one)."""
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        row = (key, buffer.getvalue(), time.time())
        with self._lock, self._connection:
            self._connection.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", row)
            if record is not None:
                values = (key, record.description, record.versions, record.seconds)
                self._connection.execute("INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?)", values)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
