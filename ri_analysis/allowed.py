"""Which files may be read: any by the command line, those of some folders by the app, which is open to others."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from ri_analysis.errors import InputError

REMEDY = "start the app with --allow FOLDER to open files there"

_folders: tuple[Path, ...] | None = None  # real paths; None: all
_files: set[Path] = set()  # real paths
_hidden = False  # whether where the folders lie is told to no one


class Outside(InputError):
    """A path that leads out of the folders that may be read. Whether anything lies there is not looked at."""

    def __init__(self, named: object) -> None:
        super().__init__(f"{named}: points outside the folders that the app may read; {REMEDY}")


def allow_only(folders: Iterable[Path] | None, *, hidden: bool = False) -> None:
    """Have this process read what lies in `folders`, whatever name or link leads to it, and nothing else; None: all.

    `hidden` says that others see the pages: commands then name paths as messages do.
    """
    global _folders, _hidden
    _hidden = hidden
    _folders = None if folders is None else tuple(dict.fromkeys(map(_real, folders)))


def allow_file(path: Path) -> None:
    """Also allow a file that the program itself has fetched."""
    _files.add(_real(path))


def is_allowed(path: Path) -> bool:
    """Whether what `path` leads to, through links and `..`, may be read.

    The same holds for each folder that a later `..` leaves: whether such a path can be followed tells what lies there.
    """
    if _folders is None:
        return True
    parts = path.parts
    turns = [place for place in range(1, len(parts)) if parts[place] == ".." != parts[place - 1]]
    return all(_lies_within(_real(each)) for each in (path, *(Path(*parts[:place]) for place in turns)))


def _lies_within(real: Path) -> bool:
    return real in _files or any(real.is_relative_to(folder) for folder in _folders or ())


def require_allowed(path: Path) -> None:
    """Raise Outside where what `path` leads to may not be read. Nothing is opened."""
    if not is_allowed(path):
        raise Outside(path)


def require_file(path: Path) -> None:
    """Raise Outside as `require_allowed`, InputError for a pipe or device, and OSError for what is not there."""
    require_allowed(path)
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # what reads a folder as a file says so itself
        raise InputError(f"{path}: expected a file, found a device or pipe")


def shortened(text: str) -> str:
    """Return text in which paths begin at an allowed folder, with its own name: where that lies is not told."""
    for folder in sorted(_folders or (), key=lambda folder: -len(str(folder))):
        if folder.name:
            name = re.escape(str(folder))
            text = re.sub(rf"(?<![\w/.-]){name}(?![\w-]|\.\w)", folder.name.replace("\\", r"\\"), text)
    return text


def is_hidden() -> bool:
    """Whether others see the pages: where files lie is told to no one."""
    return _hidden


def told(path: object) -> str:
    """Return a path as commands name it: in full, so that they work, but as `shortened` does where others see them."""
    return shortened(str(path)) if _hidden else str(path)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
