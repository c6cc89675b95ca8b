"""Which image files a set was made of: very many, too large to be read for their name alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ri_analysis.documents import own_text
from ri_analysis.errors import ChangedFile, InputError
from ri_analysis.files import digest, write_text
from ri_analysis.stamps import Stamp, reading_many


@dataclass(frozen=True)
class FileStamps:
    """Files of images as they were when their folder was opened; `digest` names their content without reading it.

    `stamps` (n,) are hashes of each file's Stamp: there may be very many.
    """

    digest: str
    files: tuple[Path, ...]
    stamps: npt.NDArray[np.int64]

    @classmethod
    def of(cls, folder: Path, files: Sequence[Path], memory: Path | None = None) -> FileStamps:
        """Return the stamps of `files`, named relative to `folder`.

        Names, sizes and times of change name the content, so that a copy of a folder has the name of the original.
        In `memory`, files of the same ones that are others than those seen first get a name of their own.
        """
        stamps = [Stamp.settled(file) for file in files]
        named = [(os.path.relpath(file, folder), stamp) for file, stamp in zip(files, stamps, strict=True)]
        name = digest(*(f"{file} {stamp.size} {stamp.modified}" for file, stamp in named))
        if memory is not None:
            own = digest(*(f"{stamp.inode} {stamp.changed}" for stamp in stamps))
            if _seen_first(memory / f"{name}.first", own) != own:
                name = digest(name, own)
        found = cls(name, tuple(files), np.array([hash(stamp) for stamp in stamps], np.int64))
        reading_many(found)
        return found

    def select(self, indices: npt.NDArray[np.int64]) -> FileStamps:
        """Return the part of some of the files, under the same name."""
        return FileStamps(self.digest, tuple(self.files[index] for index in indices), self.stamps[indices])

    def changed(self, indices: Iterable[int] | None = None) -> Path | None:
        """Return one of the files (those at `indices`, all by default) that is not what it was, None when all are."""
        chosen = range(len(self.files)) if indices is None else indices
        return next((self.files[index] for index in chosen if _hash(self.files[index]) != self.stamps[index]), None)

    def check(self, indices: Iterable[int] | None = None) -> None:
        """Raise ChangedFile naming one of the files (those at `indices`, all by default) that is not what it was."""
        path = self.changed(indices)
        if path is not None:
            raise ChangedFile(f"{path}: changed since it was opened; open the suite again")


def _hash(path: Path) -> int | None:
    try:
        return hash(Stamp.of(path))
    except OSError:
        return None


def _seen_first(note: Path, own: str) -> str:
    """Return what the note says, which is `own` where there is no note yet."""
    if not os.path.lexists(note):
        with suppress(OSError):  # a full or read-only disk
            write_text(note, own)
        return own
    try:
        return own_text(note)
    except InputError:
        return ""  # damaged: which files were seen first is not known
