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
import safetensors.numpy
from platformdirs import user_data_path

from ri_analysis.errors import InputError

Arrays = dict[str, npt.NDArray[np.generic]]

_PATIENCE = 30.0  # seconds to wait for another process that writes
_SET_UP = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value BLOB NOT NULL, created REAL NOT NULL)",
    "CREATE TABLE IF NOT EXISTS outcomes (key TEXT NOT NULL, count INTEGER NOT NULL, value BLOB NOT NULL, "
    "created REAL NOT NULL, PRIMARY KEY (key, count))",
    "CREATE TABLE IF NOT EXISTS features (key TEXT NOT NULL, count INTEGER NOT NULL, value BLOB NOT NULL, "
    "used REAL NOT NULL, PRIMARY KEY (key, count))",
    "CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, description TEXT NOT NULL, versions TEXT NOT NULL, "
    "seconds REAL NOT NULL)",
)

_NEAREST = (
    "SELECT count, value FROM {} WHERE key = ? AND count >= ? ORDER BY count LIMIT 1",
    "SELECT count, value FROM {} WHERE key = ? AND count < ? ORDER BY count DESC LIMIT 1",
)
FEATURES = 4 << 30  # bytes of features kept
_DROP_OLD_FEATURES = """
DELETE FROM features WHERE rowid IN (
    SELECT rowid FROM (
        SELECT rowid, sum(length(value)) OVER (ORDER BY used DESC, rowid DESC ROWS UNBOUNDED PRECEDING) AS upto,
        row_number() OVER (ORDER BY used DESC, rowid DESC) AS place FROM features
    ) WHERE upto > ? AND place > 1
)"""


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

    `in_memory` keeps answers for this process alone, for one that hands them to another to keep.
    """

    def __init__(self, workspace: Path, *, in_memory: bool = False) -> None:
        self.workspace = workspace
        path = workspace / "store.sqlite"
        self._lock = threading.Lock()
        try:
            workspace.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                ":memory:" if in_memory else path, timeout=_PATIENCE, check_same_thread=False
            )
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
        return load(row[0])

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
        row = (key, save(arrays), time.time())
        with self._lock, self._connection:
            self._connection.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", row)
            if record is not None:
                values = (key, record.description, record.versions, record.seconds)
                self._connection.execute("INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?)", values)

    # --- answers about subsets, each part of every larger one ---------------------------------------------

    def nested(self, key: str, count: int) -> tuple[int, Arrays] | None:
        """Return the answer about the smallest subset of at least `count` images, else about the largest smaller one.

        With it, how many images it is about. None where nothing is kept under `key`.
        """
        with self._lock:
            row = self._nearest("outcomes", key, count)
        return None if row is None else (row[0], load(row[1]))

    def put_nested(self, key: str, count: int, arrays: Arrays, record: Record | None = None) -> None:
        """Keep the answer about a subset of `count` images; one already there stays (it is the same one)."""
        row = (key, count, save(arrays), time.time())
        with self._lock, self._connection:
            self._connection.execute("INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?, ?)", row)
            if record is not None:
                values = (f"{key}:{count}", record.description, record.versions, record.seconds)
                self._connection.execute("INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?)", values)

    def features(self, key: str, count: int) -> npt.NDArray[np.float32] | None:
        """Return kept features (m, embed_dim) of the nearest subset, as `nested` chooses it."""
        with self._lock:
            row = self._nearest("features", key, count)
            if row is not None:
                self._used(key, row[0])
        return None if row is None else np.frombuffer(bytearray(row[1]), np.float32).reshape(row[0], -1)

    def features_count(self, key: str, count: int) -> int:
        """Return of how many of a subset's `count` images features are kept."""
        query = "SELECT max(count) FROM features WHERE key = ?"
        with self._lock:
            most = self._connection.execute(query, (key,)).fetchone()[0]
        return min(count, most or 0)

    def put_features(self, key: str, features: npt.NDArray[np.float32]) -> None:
        """Keep features (n, embed_dim) of a subset; the least recently used go beyond FEATURES bytes."""
        row = (key, len(features), features.astype(np.float32, copy=False).tobytes(), time.time())
        with self._lock, self._connection:
            self._connection.execute("DELETE FROM features WHERE key = ? AND count < ?", row[:2])
            self._connection.execute("INSERT OR IGNORE INTO features VALUES (?, ?, ?, ?)", row)
            self._connection.execute(_DROP_OLD_FEATURES, (FEATURES,))

    def _nearest(self, table: str, key: str, count: int) -> tuple[int, bytes] | None:
        for query in _NEAREST:
            row = self._connection.execute(query.format(table), (key, count)).fetchone()
            if row is not None:
                return int(row[0]), row[1]
        return None

    def _used(self, key: str, count: int) -> None:
        """Note that features were used, to the minute: a write for every reading would be slow."""
        query = "UPDATE features SET used = ? WHERE key = ? AND count = ? AND used < ?"
        now = time.time()
        with self._connection:
            self._connection.execute(query, (now, key, count, now - 60))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def known(arrays: Arrays | None) -> Arrays:
    """Return an answer that is certain to be in the store."""
    assert arrays is not None  # it was just put there
    return arrays


def save(arrays: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    """Return arrays as bytes: safetensors, which are read ten times as fast as npz, or npz where they hold text."""
    if any(array.dtype.kind == "U" for array in arrays.values()):
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()
    return safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in arrays.items()})


def load(data: bytes) -> Arrays:
    """Return the arrays that `save` made bytes of."""
    if data[:2] != b"PK":
        return dict(safetensors.numpy.load(data))
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
