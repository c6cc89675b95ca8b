"""Which files of a folder are images, and which were left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ri_analysis.allowed import require_allowed
from ri_analysis.errors import InputError, listing
from ri_analysis.suite.decoding import SUFFIXES

# What systems and viewers leave behind.
_FOLDERS = ("__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
_FILES = ("thumbs.db", "desktop.ini")


def hidden(name: str) -> bool:
    """Whether a file or folder of this name is none of a data set: hidden, or left behind by a system or a viewer."""
    return name.startswith(".") or name in _FOLDERS or name.lower() in _FILES


def is_image(path: Path) -> bool:
    """Whether a file is called like an image that is read."""
    return path.suffix.lower() in SUFFIXES


def counted_as(count: int, noun: str) -> str:
    """Return "1 image", "2,000 images"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def identity(folder: Path) -> tuple[int, int]:
    """Return what tells a folder from all others, whatever links lead there. Raises OSError."""
    stat = folder.stat()
    return stat.st_dev, stat.st_ino


def around(folder: Path) -> set[tuple[int, int]]:
    """Return the identities of the folders that `folder` lies in, by its name and in truth."""
    return {identity(item) for item in (*folder.parents, *folder.resolve().parents)}


class ImageFiles:
    """The image files of a folder. It remembers what it came by and left out.

    Linked folders are followed, as torchvision follows them; but what `below` looks through is read once however many
    links lead there, and a link to a folder that it lies in is not followed. Hidden entries are left out.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._above = {identity(folder)} | around(folder)
        self._others, self._hidden, self._lost = list[Path](), list[Path](), list[Path]()
        self._again, self._beside = list[Path](), list[Path]()

    def below(self, folder: Path) -> list[Path]:
        """Return the image files below `folder`, sorted. Raises InputError for a folder that can't be read."""
        require_allowed(folder)
        if folder != self.folder and identity(folder) in self._above:
            self._again.append(folder)
            return []
        return sorted(file for file in self._walk(folder) if self._is_read(file))

    def beside(self) -> None:
        """Note the images that lie in the folder itself, where only those of its subfolders are read."""
        files = (item for item in self.folder.iterdir() if item.is_file() and not hidden(item.name))
        self._beside += sorted(filter(is_image, files))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was left out so far."""
        kinds = Counter(file.suffix.lower() or "without a suffix" for file in self._others)
        counted = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
        said = [
            ("file", f" of kinds that are not read ({counted})", self._others),
            ("hidden image", "", self._hidden),
            ("image", " beside the class folders", self._beside),
            ("link", " to no file", self._lost),
            ("linked folder", ", read already or around the link", self._again),
        ]
        return tuple(
            f"{self.folder}: left out {counted_as(len(files), noun)}{more}: {self._names(files)}"
            for noun, more, files in said
            if files
        )

    def _is_read(self, file: Path) -> bool:
        if hidden(file.name):
            self._hidden += [file] if is_image(file) else []
        elif not file.is_file():
            self._lost.append(file)
        elif not is_image(file):
            self._others.append(file)
        else:
            return True
        return False

    def _walk(self, folder: Path) -> Iterator[Path]:
        seen = self._above | {identity(folder)}
        for root, folders, files in os.walk(folder, followlinks=True, onerror=_unreadable):
            below = sorted((Path(root, name) for name in folders), key=lambda item: (item.is_symlink(), item))
            folders.clear()
            for item in below:
                if hidden(item.name):
                    continue
                require_allowed(item)
                if (found := identity(item)) in seen:
                    self._again.append(item)
                else:
                    seen.add(found)
                    folders.append(item.name)
            yield from (Path(root, name) for name in files)

    def _names(self, files: Sequence[Path]) -> str:
        return listing(sorted(file.relative_to(self.folder) for file in files), 5)


def _unreadable(error: OSError) -> None:
    raise InputError(f"{error.filename}: expected a folder that can be read, found: {error.strerror}") from error
