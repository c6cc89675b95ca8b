"""Pinned figures in a folder, one file each: they outlive the session, and several processes may share them."""

from __future__ import annotations

import io
import json
import math
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from ri_analysis.errors import WriteError
from ri_analysis.export import formats
from ri_analysis.export.snapshot import Origin, Snapshot
from ri_analysis.files import atomic_path, in_words
from ri_analysis.memory import Recent
from ri_analysis.stamps import Stamp

SUFFIX = ".figure.zip"
SHORTEST, LONGEST = 1.0, 20.0  # inches of a printed figure
MOST_BYTES = 64 * 2**20  # of one file, and of a shelf
_FIGURE, _TABLE, _FIELDS = "figure.json", "table.parquet", "fields.json"
_WAIT = 10.0  # seconds for another process that writes
_KEY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Kept:
    """A figure on a shelf; the one with the lowest place comes first."""

    place: float
    snapshot: Snapshot


class Shelf:
    """A folder of figures by key: each a zip file of Plotly's JSON, the table as Parquet, and other fields as JSON."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every figure's file by key; nothing is read."""
        return {entry.name.removesuffix(SUFFIX): entry.stat().st_size for entry in self._entries() if _ours(entry.name)}

    def read(self) -> tuple[dict[str, Kept], list[str]]:
        """Return the figures by key, in order, and a remark on every file that holds none; those stay where they are.

        What was read is remembered until the file changes.
        """
        found: dict[str, Kept] = {}
        remarks = []
        for entry in self._entries():
            if not _ours(entry.name):
                remarks.append(f"{entry.path}: expected only pinned figures (KEY{SUFFIX}) in this folder; skipped")
            elif isinstance(kept := self._remembered(Path(entry.path)), Kept):
                found[entry.name.removesuffix(SUFFIX)] = kept
            elif kept:
                remarks.append(kept)
        return dict(sorted(found.items(), key=lambda item: (item[1].place, item[0]))), remarks

    def get(self, key: str) -> Kept | None:
        """Return a figure; None where there is none that can be read."""
        found = self._remembered(self._path(key))
        return found if isinstance(found, Kept) else None

    def put(self, key: str, kept: Kept | None) -> None:
        """Write a figure, or take it out. Raises WriteError."""
        path = self._path(key)
        if kept is not None:
            with atomic_path(path) as temporary:
                temporary.write_bytes(_packed(kept))
            return
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise WriteError(f"{path}: can't be removed: {in_words(error)}") from error

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keep all others from changing the shelf. Raises WriteError where it can't be written."""
        lock = FileLock(self.folder / ".lock", timeout=_WAIT)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError as error:
            raise WriteError(f"{self.folder}: can't be written: {in_words(error)}") from error
        try:
            yield
        finally:
            lock.release()

    def _entries(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.folder) as found:
                return sorted((entry for entry in found if entry.name[0] != "."), key=lambda entry: entry.name)
        except OSError:
            return []  # nothing was pinned yet

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{SUFFIX}"

    def _remembered(self, path: Path) -> Kept | str | None:
        """Return the figure in a file, what is wrong with the file, or None where there is none (any more)."""
        try:
            name = (path, Stamp.of(path))
        except OSError:
            return None
        found = _read.get(name)
        if found is None:
            found = _unpacked(path)
            _read.put(name, found, len(found) if isinstance(found, str) else found.snapshot.bytes)
        return found


_read: Recent[tuple[Path, Stamp], Kept | str] = Recent(2 * MOST_BYTES)


def _ours(name: str) -> bool:
    return name.endswith(SUFFIX) and _KEY.fullmatch(name.removesuffix(SUFFIX)) is not None


def _packed(kept: Kept) -> bytes:
    shot, stream = kept.snapshot, io.BytesIO()
    words = {name: getattr(shot, name) for name in ("name", "title", "caption", "n", "width", "height")}
    fields = {"place": kept.place, **words, "origin": asdict(shot.origin)}
    with zipfile.ZipFile(stream, "w") as parts:
        parts.writestr(_FIGURE, shot.json)
        parts.writestr(_TABLE, formats.parquet(shot.table))
        parts.writestr(_FIELDS, json.dumps(fields, ensure_ascii=False, indent=1))
    return stream.getvalue()


def _unpacked(path: Path) -> Kept | str:
    """Return the figure in a file that anybody may have put there, or what is wrong with it."""
    try:
        with zipfile.ZipFile(path) as parts:
            if sum(part.file_size for part in parts.infolist()) > MOST_BYTES:
                raise ValueError(f"more than {MOST_BYTES:,} bytes")
            drawn, table = parts.read(_FIGURE).decode(), pd.read_parquet(io.BytesIO(parts.read(_TABLE)))
            return _kept(json.loads(parts.read(_FIELDS)), drawn, table)
    except Exception as error:  # what others wrote can be wrong in every way, and must not take the page with it
        return f"{path}: expected a pinned figure, found: {error or type(error).__name__}; skipped, and left as it is"


def _kept(fields: dict[str, Any], drawn: str, table: pd.DataFrame) -> Kept:
    given = fields["origin"]
    origin = Origin(
        suite=str(given["suite"]),
        suite_digest=str(given["suite_digest"]),
        recipes=tuple(map(str, given["recipes"])),
        commands=tuple(map(str, given["commands"])),
        address=str(given["address"]),
        versions=tuple((str(name), str(version)) for name, version in given["versions"]),
        made=str(given["made"]),
        file=str(given["file"]),
    )
    width, height, place = (float(fields[name]) for name in ("width", "height", "place"))
    if not (SHORTEST <= width <= LONGEST and SHORTEST <= height <= LONGEST and math.isfinite(place)):
        raise ValueError(f"a size of {width:g} × {height:g} inches at place {place:g}")
    name, title, caption, n = (str(fields[name]) for name in ("name", "title", "caption", "n"))
    snapshot = Snapshot(name, title, caption, n, drawn, table, origin, width, height)
    _ = snapshot.printed  # it can be drawn
    return Kept(place, snapshot)
