"""What the reader keeps of a comparison, by suite in the workspace: recipes added, names, colours, what is hidden."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import streamlit as st
from filelock import FileLock, Timeout

from ri_analysis.caches import read_note, write_note
from ri_analysis.ui import resources, tray

_VERSION = "1"  # of how it is kept
_UNSAVED = "ri.compare.unsaved"
_WAIT = 5.0  # seconds for another process that writes


@dataclass
class Board:
    """Recipes by their texts (see `engine.recipe_texts`): those added, in order, names, colours, and those hidden."""

    added: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    colours: dict[str, str] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)


def read() -> Board:
    """Return the board of the open suite."""
    unsaved: dict[Path, Board] = st.session_state.get(_UNSAVED, {})
    return unsaved.get(_path()) or _read()


def _read() -> Board:
    kept = read_note(_path(), _VERSION)
    try:
        return Board(**kept) if isinstance(kept, dict) else Board()
    except TypeError:  # of another version
        return Board()


def change(edit: Callable[[Board], None]) -> None:
    """Change the board, for this session alone where it can't be written."""
    path, unsaved = _path(), st.session_state.setdefault(_UNSAVED, {})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), timeout=_WAIT):
            board = unsaved.get(path) or _read()
            edit(board)
            write_note(path, _VERSION, asdict(board))
            written = _read() == board
    except (OSError, Timeout):
        board = read()
        edit(board)
        written = False
    if written:
        unsaved.pop(path, None)
    else:
        unsaved[path] = board


def is_unsaved() -> bool:
    """Whether changes last only as long as this browser tab."""
    return _path() in st.session_state.get(_UNSAVED, {})


def _path() -> Path:
    # Under the name that the suite's pinned figures have.
    return resources.workspace() / "compare" / f"{tray.pinned().shelf.folder.name}.json"
