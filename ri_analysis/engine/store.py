"""Answers kept on disk under the digest of everything they depend on."""

from __future__ import annotations

import os
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
import torch
from platformdirs import user_data_path

from ri_analysis import __version__
from ri_analysis.engine.sealing import Arrays, sealed, unsealed
from ri_analysis.engine.shipped import Shipped
from ri_analysis.errors import InputError
from ri_analysis.files import in_words
from ri_analysis.json_text import to_json

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
    # These fail where the tables are others than those.
    "SELECT key, value, created FROM answers LIMIT 0",
    "SELECT key, count, value, created FROM outcomes LIMIT 0",
    "SELECT key, count, value, used FROM features LIMIT 0",
    "SELECT key, description, versions, seconds FROM records LIMIT 0",
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

Statement = tuple[str, tuple[object, ...]]


@dataclass(frozen=True)
class Record:
    """How an answer came about: what it is about and under which versions (JSON both), and how long it took."""

    description: str
    versions: str
    seconds: float

    @classmethod
    def of(cls, about: Mapping[str, object], seconds: float) -> Record:
        """Return how what is described by `about` came about, now."""
        versions = {"ri-analysis": __version__, "torch": torch.__version__}
        return cls(to_json(about), to_json(versions), seconds)


def default_workspace() -> Path:
    """Return the folder of the store and of resolved expert sets, in the user's data directory."""
    return user_data_path("ri-analysis", appauthor=False)


class Store:
    """Named arrays by key, in one SQLite file (write-ahead log: several processes may read and write).

    Every answer carries a check of its bytes. One that does not fit is dropped, so that it is measured again, and a
    file that is no store any more is set aside for a new one. Where nothing can be written any more (a read-only
    folder, a full disk), it answers what it holds, and keeps new answers in memory; where its file was removed or
    replaced, it goes on with the one that is there now. All of that is said once on stderr, and is in `troubles`.

    Parameters
    ----------
    workspace: the folder that the file lies in.
    guard: called before an answer is kept; raises where the answer is good for nothing.
    in_memory: keep answers for this process alone, which hands them to another to keep.
    shipped: the file of answers that come with the suite. They are asked after the workspace's own; those answers that
        an older version of this one or another processor gives may differ in the last digits, which is said on stderr
        once one is used.

    Raises InputError for a folder that holds no store and can't be written, and for a damaged file that can't be set
    aside.
    """

    def __init__(
        self,
        workspace: Path,
        guard: Callable[[], None] = lambda: None,
        *,
        in_memory: bool = False,
        shipped: Path | None = None,
    ) -> None:
        self.workspace, self._guard = workspace, guard
        self.shipped = None if shipped is None else Shipped(shipped, workspace / "trials")
        self._path = workspace / "store.sqlite"
        self._where: Path | str = ":memory:" if in_memory else self._path
        self._lock = threading.RLock()
        self._sound: set[str] = set()  # keys of answers that were looked at and fit
        self._unwritten: dict[str, Arrays] = {}
        self._unwritten_nested: dict[tuple[str, str], dict[int, Arrays]] = {}
        self._said: set[str] = set()
        self.troubles: list[str] = []
        self._file = 0  # of the file that is open
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
            self._file = _inode(self._path)
            self._say_unwritten(why)

    def _open(self) -> None:
        for last in (False, True):
            self._connection = self._connect(self._where)
            self._file = _inode(self._path)
            try:
                self._set_up()
                self._file = _inode(self._path)
                return
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
                self._connection = self._connect(f"{self._path.absolute().as_uri()}?{way}", uri=True)
                self._connection.execute("SELECT 1 FROM answers, records, outcomes, features LIMIT 1")
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
        aside = f".damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
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
        self._say(f"can't be read ({error}); set aside as {self._path.name}{aside}, results are measured again")

    def _ask(self, *statements: Statement) -> tuple[Any, ...] | None:
        """Execute statements as one; return the first row of the last. A damaged file is replaced by a new one."""
        with self._lock:
            if self._elsewhere():
                self._open_again()
            try:
                return self._tell(statements)
            except sqlite3.DatabaseError as error:
                if self._elsewhere():  # since the moment before
                    self._open_again()
                elif _code(error) == sqlite3.SQLITE_IOERR_SHORT_READ:
                    return self._ask_again(statements)
                else:
                    self._replace(error)
                return self._tell(statements)

    def _ask_again(self, statements: Sequence[Statement]) -> tuple[Any, ...] | None:
        """Open a file again that ended too early: its log is mended by that where no other process has it open."""
        self._connection.close()
        self._open()
        try:
            return self._tell(statements)
        except sqlite3.DatabaseError as error:
            self._replace(error)
            return self._tell(statements)

    def _replace(self, error: sqlite3.DatabaseError) -> None:
        """Set a damaged file aside for a new one. Raises the error where it is of another kind."""
        if not _is_damage(error):
            raise error
        self._set_aside(error)
        self._open()

    def _elsewhere(self) -> bool:
        """Whether another file lies where the open one did, or none."""
        return self._where == self._path and _inode(self._path) != self._file

    def _open_again(self) -> None:
        """Go on with the file that is there now: what is written to one that was removed would be lost unseen."""
        self._connection.close()
        self._sound.clear()
        try:
            self.workspace.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise sqlite3.OperationalError(f"it was removed, and {in_words(error)}") from error
        self._open()
        self._say("was removed or replaced while it was open; results are now saved in the new one")

    def _row(self, query: str, *values: object) -> tuple[Any, ...] | None:
        try:
            return self._ask((query, values))
        except sqlite3.OperationalError as error:
            raise InputError(f"{self._path}: can't be read: {error}") from error

    def _tell(self, statements: Sequence[Statement]) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = None
        with self._connection:
            for text, values in statements:
                row = self._connection.execute(text, values).fetchone()
        return row

    def get(self, key: str) -> Arrays | None:
        """Return the arrays kept under `key`, None when there are none."""
        found = self._own(key)
        return self._from_shipped(key) if found is None else found

    def _own(self, key: str) -> Arrays | None:
        row = self._row("SELECT value FROM answers WHERE key = ?", key)
        found = None if row is None else unsealed(row[0], key)
        if found is not None:
            self._sound.add(key)
            return found
        if row is not None:
            self._drop(key)
        return self._unwritten.get(key)

    def has(self, key: str) -> bool:
        """Whether something is kept under `key`."""
        return self._has_own(key) or self._from_shipped(key) is not None

    def _has_own(self, key: str) -> bool:
        if key not in self._sound:
            return self._own(key) is not None
        return self._row("SELECT 1 FROM answers WHERE key = ?", key) is not None

    def is_shipped(self, key: str, count: int | None = None) -> bool:
        """Whether the answer under `key`, about `count` images where that is given, is one that came with the suite."""
        if self.shipped is None:
            return False
        if count is None:
            return not self._has_own(key) and self.shipped.get(key) is not None
        own = self._own_nearest("outcomes", key, count)
        return (own is None or own[0] < count) and any(kept >= count for kept in self.shipped.counts(key))

    def source(self, key: str, count: int | None = None) -> Path:
        """Return the file that the answer under `key`, about `count` images where that is given, comes from."""
        return self.shipped.path if self.shipped is not None and self.is_shipped(key, count) else self._path

    def _from_shipped(self, key: str, count: int | None = None) -> Arrays | None:
        if self.shipped is None:
            return None
        found = self.shipped.get(key, count)
        if self.shipped.problem:
            self._say(self.shipped.problem, self.shipped.path)
        elif found is not None and self.shipped.made is not None:
            said = f"using results that come with the suite ({self.shipped.made.says}); --fresh measures them here"
            self._say(said, self.shipped.path)
        return found

    def record(self, key: str) -> Record | None:
        """Return how the answer under `key` came about, None when that was not noted."""
        row = self._row("SELECT description, versions, seconds FROM records WHERE key = ?", key)
        return None if row is None else Record(*row)

    def models(self, suite: str) -> list[str]:
        """Return the names of the models that outcomes were measured of, by their records, on suites of a name."""
        query = (
            "SELECT DISTINCT json_extract(description, '$.model') FROM records WHERE description LIKE '%\"model\"%' "
            "AND json_valid(description) AND json_extract(description, '$.suite') = ?"
        )
        with self._lock:
            try:
                found = self._connection.execute(query, (suite,)).fetchall()
            except sqlite3.Error:  # a damaged file, which the next answer asked for replaces
                return []
        return [name for (name,) in found if isinstance(name, str)]

    def records(self) -> int:
        """Return a count that grows with every answer whose record is kept."""
        row = self._row("SELECT max(rowid) FROM records")
        return 0 if row is None or row[0] is None else int(row[0])

    def put(self, key: str, arrays: Mapping[str, npt.NDArray[np.generic]], record: Record | None = None) -> None:
        """Keep `arrays` under `key`; an answer already there stays (it is the same one)."""
        self._guard()
        row = (key, sealed(arrays, key), time.time())
        if not self._write(("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", row), *_noting(key, record)):
            self._unwritten[key] = dict(arrays)

    def _write(self, *statements: Statement) -> bool:
        """Execute statements; return whether it could be written: an answer that can't be kept is still an answer."""
        try:
            self._ask(*statements)
        except sqlite3.OperationalError as error:
            self._say_unwritten(str(error))
            return False
        return True

    # --- answers about subsets of images, each part of every larger one -----------------------------------

    def nested(self, key: str, count: int) -> tuple[int, Arrays] | None:
        """Return the answer about the smallest subset of at least `count` images, else about the largest smaller one.

        With it, how many images it is about. None where nothing is kept under `key`.
        """
        own = self._own_nearest("outcomes", key, count)
        if self.shipped is None or (own is not None and own[0] >= count):
            return own
        counts = self.shipped.counts(key)
        best = min((kept for kept in counts if kept >= count), default=max(counts, default=0))
        if best <= (0 if own is None else own[0]):
            return own
        found = self._from_shipped(key, best)
        return own if found is None else (best, found)

    def put_nested(self, key: str, count: int, arrays: Arrays, record: Record | None = None) -> None:
        """Keep the answer about a subset of `count` images; one already there stays (it is the same one)."""
        self._guard()
        row = (key, count, sealed(arrays, f"{key}:{count}"), time.time())
        written = ("INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?, ?)", row)
        if not self._write(written, *_noting(f"{key}:{count}", record)):
            self._unwritten_nested.setdefault(("outcomes", key), {})[count] = arrays

    def features(self, key: str, count: int) -> npt.NDArray[np.float32] | None:
        """Return kept features (m, embed_dim) of the nearest subset, as `nested` chooses it."""
        found = self._own_nearest("features", key, count)
        if found is None:
            return None
        query = "UPDATE features SET used = ? WHERE key = ? AND count = ? AND used < ?"
        now = time.time()  # noted to the minute: a write for every reading would be slow
        with suppress(sqlite3.OperationalError):
            self._ask((query, (now, key, found[0], now - 60)))
        return found[1]["features"].astype(np.float32, copy=False)

    def features_count(self, key: str, count: int) -> int:
        """Return of how many of a subset's `count` images features are kept."""
        row = self._row("SELECT max(count) FROM features WHERE key = ?", key)
        kept = row[0] if row is not None and isinstance(row[0], int) else 0
        return min(count, max(kept, *self._unwritten_nested.get(("features", key), {}), 0))

    def put_features(self, key: str, features: npt.NDArray[np.float32]) -> None:
        """Keep features (n, embed_dim) of a subset; the least recently used go beyond FEATURES bytes."""
        self._guard()
        count, arrays = len(features), {"features": features.astype(np.float32, copy=False)}
        value = sealed(arrays, f"{key}:{count}")
        if not self._write(
            ("DELETE FROM features WHERE key = ? AND count < ?", (key, count)),
            ("INSERT OR IGNORE INTO features VALUES (?, ?, ?, ?)", (key, count, value, time.time())),
            (_DROP_OLD_FEATURES, (FEATURES,)),
        ):
            self._unwritten_nested.setdefault(("features", key), {})[count] = dict(arrays)

    def _own_nearest(self, table: str, key: str, count: int) -> tuple[int, Arrays] | None:
        held = self._unwritten_nested.get((table, key), {})
        for query in _NEAREST:
            while (row := self._row(query.format(table), key, count)) is not None:
                found = unsealed(row[1], f"{key}:{row[0]}")
                if found is not None and isinstance(row[0], int):
                    held = held | {row[0]: found}
                    break
                self._drop_nested(table, key, row[0])
                if self._row(query.format(table), key, count) == row:  # nothing can be written
                    break
            if any(kept >= count for kept in held):
                break
        enough = [kept for kept in held if kept >= count]
        best = min(enough) if enough else max(held, default=None)
        return None if best is None else (best, held[best])

    def _drop_nested(self, table: str, key: str, count: int) -> None:
        with suppress(sqlite3.OperationalError):
            self._ask((f"DELETE FROM {table} WHERE key = ? AND count = ?", (key, count)))
        self._say("holds damaged results; they are dropped and measured again")

    def _drop(self, key: str) -> None:
        """Take out an answer that is not what was kept."""
        with suppress(sqlite3.OperationalError):  # where nothing can be written it stays, and is no answer all the same
            self._ask(("DELETE FROM answers WHERE key = ?", (key,)), ("DELETE FROM records WHERE key = ?", (key,)))
        self._say("holds damaged results; they are dropped and measured again")

    def _say_unwritten(self, why: str) -> None:
        self._say(f"new results are not saved: {why}")

    def _say(self, what: str, about: Path | None = None) -> None:
        """Say something on stderr, once."""
        if what not in self._said:
            self._said.add(what)
            said = f"{about or self._path}: {what}"
            self.troubles += [] if about else [said]
            print(f"note  {said}", file=sys.stderr)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def known(arrays: Arrays | None) -> Arrays:
    """Return an answer that is in the store. Raises InputError where it was found damaged since it was looked for."""
    if arrays is None:
        raise InputError("the store lost a result while it was read (is the disk failing?); try again")
    return arrays


def _noting(key: str, record: Record | None) -> list[Statement]:
    if record is None:
        return []
    values = (key, record.description, record.versions, record.seconds)
    return [("INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?)", values)]


def _is_damage(error: sqlite3.Error) -> bool:
    # SQLITE_ERROR is what a statement gets whose tables or columns are not there.
    damage = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
    return _code(error) & 0xFF in damage or _code(error) == sqlite3.SQLITE_IOERR_SHORT_READ


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0))  # what Python itself raises has none


def _inode(path: Path) -> int:
    return path.stat().st_ino if path.exists() else 0
