"""The figure tray: figures of any page, kept as they were in the workspace, by suite, until they are taken out."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from ri_analysis.analyses import Answer
from ri_analysis.documents import own_text
from ri_analysis.errors import WriteError
from ri_analysis.export import facts, shelf
from ri_analysis.export.shelf import Kept, Shelf
from ri_analysis.export.snapshot import Origin, Snapshot
from ri_analysis.figures import words
from ri_analysis.files import digest, write_text
from ri_analysis.json_text import from_json, to_json
from ri_analysis.merging import MergeRecipe
from ri_analysis.suite import EMBEDDED, Suite, suite_path
from ri_analysis.ui import recipes, resources

_NOTE = ".suite.json"  # beside the figures: the suite file, and its experts
_UNSAVED, _TAKEN, _SAID = "ri.tray.unsaved", "ri.tray.taken", "ri.tray.said"
Source = str | Answer[Any] | Sequence[MergeRecipe] | Origin | None
"""What gives a figure's numbers: an analysis's answer, a command, what is known already of where they come from, or,
where there is none of these, the measured recipe."""
_RUN = "ScriptRunner.scriptThread"  # Streamlit's name of a page's run
_MOMENT, _PATIENCE = 0.3, 3.0  # seconds to wait for an edit to arrive, and then for runs to end
MOST, MOST_BYTES = 30, shelf.MOST_BYTES  # figures, and what their files may hold, per suite


@dataclass
class _Unsaved:
    """What one session changed and could not write: figures by key, None for one that was taken out; and why."""

    kept: dict[str, Kept | None] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True)
class Tray:
    """The figures pinned on a suite, by key: those on its shelf, with the changes that could not be written there."""

    shelf: Shelf
    unsaved: _Unsaved

    def __len__(self) -> int:
        return len(self._sizes())

    def figures(self) -> dict[str, Kept]:
        """Return the figures in their order."""
        every = self.shelf.read()[0] | self.unsaved.kept
        there = {key: kept for key, kept in every.items() if kept is not None}
        return dict(sorted(there.items(), key=lambda item: (item[1].place, item[0])))

    def settled(self) -> dict[str, Snapshot]:
        """Return the figures in their order, for a file that was asked for: with an edit that is still under way.

        A press that ends an edit asks for the file first; the browser sends the edit a few milliseconds later.
        """
        time.sleep(_MOMENT)
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and any(thread.name == _RUN for thread in threading.enumerate()):
            time.sleep(0.02)
        return {key: kept.snapshot for key, kept in self.figures().items()}

    def remarks(self) -> list[str]:
        """Return what the reader should know: of files that hold no figure, and of changes that could not be saved."""
        remarks = self.shelf.read()[1]
        if self.unsaved.kept:
            count = words.count(len(self.unsaved.kept), "figure")
            remarks.append(
                f"Changes to {count} could not be saved and last until this browser tab is closed. {self.unsaved.why}"
            )
        return remarks

    def add(self, snapshot: Snapshot) -> str:
        """Put a figure last, unless it is there already; return what is wrong, empty where nothing is."""
        sizes = self._sizes()
        if snapshot.key in sizes:
            return "This figure is pinned already."
        if len(sizes) >= MOST or sum(sizes.values()) + snapshot.bytes > MOST_BYTES:
            return "The Figures page is full: remove a figure there first."
        kept = Kept(time.time(), snapshot)
        self.change(snapshot.key, lambda _: kept)
        return ""

    def change(self, key: str, change: Callable[[Kept | None], Kept | None]) -> None:
        """Change a figure, for this session alone where that can't be written; None is none."""
        try:
            with self.shelf.changing():
                found = self._get(key)
                made = change(found)
                if made is not found:  # what is not there stays away, and what can't be read stays there
                    self.shelf.put(key, made)
            self.unsaved.kept.pop(key, None)
        except WriteError as error:
            self.unsaved.kept[key] = change(self._get(key))
            self.unsaved.why = str(error)

    def edit(self, key: str, edit: Callable[[Snapshot], Snapshot]) -> None:
        """Change a figure's words or size, where it is still there."""
        self.change(key, lambda kept: kept and replace(kept, snapshot=edit(kept.snapshot)))

    def move(self, key: str, step: int) -> None:
        """Move a figure up (−1) or down (1)."""
        held = self.figures()
        if key not in held:
            return
        others = [other for other in held if other != key]
        place = min(max(0, list(held).index(key) + step), len(others))
        low = held[others[place - 1]].place if place else held[others[0]].place - 2
        high = held[others[place]].place if place < len(others) else held[others[-1]].place + 2
        if low < (low + high) / 2 < high:
            self._put_at(key, (low + high) / 2)
        else:  # no number fits between them any more
            for number, other in enumerate([*others[:place], key, *others[place:]]):
                self._put_at(other, float(number))

    def _put_at(self, key: str, place: float) -> None:
        self.change(key, lambda kept: kept and replace(kept, place=place))

    def _get(self, key: str) -> Kept | None:
        return self.unsaved.kept[key] if key in self.unsaved.kept else self.shelf.get(key)

    def _sizes(self) -> dict[str, int]:
        unsaved = self.unsaved.kept
        there = {key: kept.snapshot.bytes for key, kept in unsaved.items() if kept is not None}
        return {key: size for key, size in self.shelf.sizes().items() if key not in unsaved} | there


def pinned() -> Tray:
    """Return the tray of the open suite."""
    folder = _folder()
    unsaved = st.session_state.setdefault(_UNSAVED, {}).setdefault(folder, _Unsaved())
    return Tray(Shelf(folder), unsaved)


def _folder() -> Path:
    """Return where a suite's figures are: by its file, for names may be the same; by name where it comes with us."""
    place = Path(resources.stamp(resources.suite_name())[0]).resolve()
    ours = (name for name in EMBEDDED if suite_path(name).resolve() == place)
    return resources.workspace() / "figures" / next(ours, digest(str(place)))


def take_over(suite: Suite) -> bool:
    """Take over the figures of a suite file that was moved here: of the same experts, and no longer where it was."""
    folder = _folder()
    if Shelf(folder).sizes():
        return False
    for note in sorted(folder.parent.glob(f"*/{_NOTE}")):
        try:
            said = from_json(own_text(note))
            moved = said["experts"] == _experts(suite) and not Path(said["path"]).exists()
            if moved and note.parent != folder:
                folder.mkdir(parents=True, exist_ok=True)
                for file in note.parent.glob(f"*{shelf.SUFFIX}"):
                    os.replace(file, folder / file.name)
                note.unlink()
                _note(suite)
                return True
        except (OSError, ValueError, KeyError, TypeError):
            continue  # written by others, or not to be written: the figures stay where they are
    return False


def _note(suite: Suite) -> None:
    """Write down whose figures a folder holds, so that they are found again after the suite file was moved."""
    said = {"path": str(suite.spec.path.resolve()), "experts": _experts(suite)}
    with suppress(WriteError):  # the figures are kept, only not found again after a move
        write_text(_folder() / _NOTE, to_json(said))


def _experts(suite: Suite) -> str:
    return digest(to_json(suite.weight_digests()))


def pin_button(
    chart: go.Figure | Callable[[], go.Figure],
    how_to_read: str,
    table: pd.DataFrame,
    n: str,
    name: str,
    source: Source = None,
) -> None:
    """Draw the button that puts a figure, or what draws it only then, into the tray."""
    st.button(
        "Pin",
        key=f"pin.{name}",
        type="tertiary",
        icon=":material/keep:",
        help="Keep this figure, as it is now, on the Figures page, to export it for a paper or a report",
        on_click=_pin,
        args=(chart, how_to_read, table, n, name, source),
    )
    if st.session_state.get(_SAID):  # pinned in a fragment, which alone was drawn again: the sidebar counts figures
        st.rerun()


def _pin(
    chart: go.Figure | Callable[[], go.Figure],
    how_to_read: str,
    table: pd.DataFrame,
    n: str,
    name: str,
    source: Source,
) -> None:
    evaluator, suite = resources.evaluator(), resources.suite_name()
    if not source:
        origin = facts.origin(evaluator, recipes.chosen_pair(evaluator), suite, address())
    elif isinstance(source, str):
        origin = facts.origin_of(evaluator, [source], address())
    elif isinstance(source, Origin):
        origin = replace(source, address=address())
    elif not isinstance(source, Answer):
        origin = facts.origin(evaluator, source, suite, address())
    else:
        origin = facts.origin_of_answer(evaluator, source, suite, address())
    drawn = chart if isinstance(chart, go.Figure) else chart()
    add(Snapshot.of(drawn, table, name, how_to_read, n, origin))


def add(snapshot: Snapshot) -> None:
    """Put a figure into the tray and say so, or why not."""
    tray = pinned()
    if problem := tray.add(snapshot):
        _say(problem, ":material/info:")
        return
    _note(resources.evaluator().suite)
    if snapshot.key in tray.unsaved.kept:
        _say("Pinned for this browser tab only: the workspace can't be written.", ":material/warning:")
    else:
        _say(f"Pinned: {words.count(len(tray), 'figure')} on the Figures page.", ":material/keep:")


def take_out(key: str) -> None:
    """Take a figure out of the tray; it can be put back until the next one is."""
    tray = pinned()
    kept = tray.figures().get(key)
    st.session_state[_TAKEN] = (tray.shelf.folder, key, kept)
    tray.change(key, lambda _: None)


def taken_out() -> Kept | None:
    """Return the figure that was taken out last and can be put back."""
    folder, key, kept = st.session_state.get(_TAKEN, (None, "", None))
    tray = pinned()
    return None if kept is None or folder != tray.shelf.folder or key in tray.figures() else kept


def put_back() -> None:
    """Put the figure that was taken out last back in its place."""
    _, key, kept = st.session_state.pop(_TAKEN)
    pinned().change(key, lambda _: kept)


def _say(text: str, icon: str) -> None:
    """Have something said on the next run: a callback must draw nothing where a fragment runs alone."""
    st.session_state.setdefault(_SAID, []).append((text, icon))


def say() -> None:
    """Say what became of the figures pinned last; for the beginning of a page's run."""
    for text, icon in st.session_state.pop(_SAID, []):
        st.toast(text, icon=icon)


def address() -> str:
    """Return the link that restores the open page; empty where it is not known."""
    parameters = urlencode(st.query_params.to_dict())
    return f"{st.context.url}?{parameters}" if st.context.url and parameters else str(st.context.url or "")
