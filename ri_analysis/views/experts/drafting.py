"""A suite file drafted from a folder: looked at, mended, checked before it is written, written, and opened."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import streamlit as st

from ri_analysis.allowed import is_hidden, require_allowed
from ri_analysis.documents import place
from ri_analysis.engine import check_suite
from ri_analysis.errors import InputError
from ri_analysis.figures import words
from ri_analysis.files import digest, write_text
from ri_analysis.suite import resource_root
from ri_analysis.suite.drafting import Draft, draft, require_new, to_toml
from ri_analysis.ui import background, frame, opening, resources
from ri_analysis.ui.jobs import Job, Jobs

_FOLDER, _TEXT, _NAME = "widget.experts.folder", "widget.experts.draft", "widget.experts.draft.name"
_DRAFTING = "ri.drafting"  # the folder that is drafted from
_KEPT = "ri.draft"  # the text as it was last edited: the widget forgets it when another page is shown
_REFUSED = "ri.draft.refused"  # why the text could not be written
_SUITE = "suite.toml"
_STYLE = "<style>.st-key-widget-experts-draft textarea { font: .8rem/1.5 monospace; white-space: pre }</style>"


def draw(open_suite: Callable[[str], None]) -> None:
    """Draw how a suite file is drafted, and the draft there is; `open_suite` opens the one that was written."""
    folder = st.session_state.get(_DRAFTING)
    title = "Draft a suite file from a folder of checkpoints, heads and images"
    with st.expander(title, icon=":material/edit_note:", expanded=folder is not None):
        with st.form("experts.drafting", border=False):
            path, button = st.columns([6, 1], vertical_alignment="bottom")
        path.text_input(
            "Folder",
            key=_FOLDER,
            placeholder="/path/to/checkpoints",
            help="Scanned with all folders below it; nothing is run. `ri-analysis init` does the same.",
        )
        button.form_submit_button("Scan", width="stretch", key="experts.look", on_click=_begin_typed)
        if folder is not None:
            _follow(folder, open_suite)


def begin(folder: str) -> None:
    """Begin to draft a suite file from what lies in `folder`."""
    for key in (_KEPT, _TEXT, _REFUSED):
        st.session_state.pop(key, None)
    st.session_state[_DRAFTING] = folder
    _look_through(folder)


def _begin_typed() -> None:
    text = str(st.session_state[_FOLDER]).strip()
    if text:
        begin(text)


def _look_through(folder: str) -> Job:
    title = f"Scanning {resources.short(folder)}"
    return _jobs().start(folder, title, lambda job: draft(place(Path(), folder), job.progress), unit="checkpoints")


def _jobs() -> Jobs:
    return resources.jobs("drafting")


def _follow(folder: str, open_suite: Callable[[str], None]) -> None:
    """Draw how far the look through a folder is, and then the draft."""
    job = _jobs().get(folder) or _look_through(folder)
    job.wait(opening.PATIENCE)
    seen = job.look()
    if seen.running:
        background.watch(job)
        return
    if seen.result is None:
        opening.stopped(job.title, seen.error)
    else:
        _edit(seen.result, open_suite)
    st.button("Close", key="experts.draft.close", on_click=_close, type="tertiary")


def _close() -> None:
    for key in (_DRAFTING, _KEPT, _TEXT, _REFUSED):
        st.session_state.pop(key, None)


def _edit(found: Draft, open_suite: Callable[[str], None]) -> None:
    """Draw what was found and what is open, the text to edit, and what can be done with it."""
    if found.undecided:
        lines = "\n".join(f"- {frame.plain(str(item))}" for item in found.undecided)
        st.warning(f"{words.count(len(found.undecided), 'thing')} to decide:\n\n{lines}", icon=":material/help:")
    else:
        st.markdown(":green[:material/check_circle:] Everything that a suite needs was found.")
    _lines("Found", found.found)
    _lines("Left out", found.left_out)
    text = st.session_state.setdefault(_KEPT, to_toml(found, found.folder / _SUITE))
    st.session_state.setdefault(_TEXT, text)
    st.html(_STYLE)
    st.text_area("Suite file", key=_TEXT, height=420, on_change=_keep, help="TOML; paths are relative to the folder.")
    if is_hidden():  # a visitor neither writes here nor has the server read what a text of theirs names
        text = str(st.session_state[_TEXT])
        st.download_button(
            "Download", text, _SUITE, "application/toml", key="experts.draft.download", on_click="ignore"
        )
        st.caption("This app is shared: download the file and have whoever runs the app put it into the folder.")
        return
    row = st.container(horizontal=True, vertical_alignment="bottom")
    row.text_input("File name", value=_SUITE, key=_NAME, width=220, help="The file is written into the folder.")
    check = row.button(
        "Check", key="experts.draft.check", help="Runs `ri-analysis check` on the text before it is written"
    )
    row.button(
        "Write and open", key="experts.draft.write", type="primary", on_click=_write, args=(found.folder, open_suite)
    )
    if _REFUSED in st.session_state:
        st.error(frame.plain(st.session_state.pop(_REFUSED)), icon=":material/warning:")
    _checked(found.folder, str(st.session_state[_TEXT]), start=check)


def _lines(title: str, lines: Sequence[str]) -> None:
    if lines:
        with st.expander(f"{title} ({len(lines)})"):
            st.markdown("\n".join(f"- {frame.plain(line)}" for line in lines))


def _keep() -> None:
    st.session_state[_KEPT] = st.session_state[_TEXT]


def _write(folder: Path, open_suite: Callable[[str], None]) -> None:
    """Write the text into its folder, and open it; never in the place of another file."""
    name, text = str(st.session_state[_NAME]).strip(), str(st.session_state[_TEXT])
    try:
        if is_hidden():
            raise InputError("This app is shared: suite files are not written from its pages.")
        path = _target(folder, name)
        require_new(path)
        write_text(path, text)
    except InputError as error:
        st.session_state[_REFUSED] = str(error)
        return
    _close()
    open_suite(str(path))


def _target(folder: Path, name: str) -> Path:
    """Return where a suite file called `name` may be written. Raises InputError."""
    if not re.fullmatch(r"[\w-][\w.-]*\.toml", name):
        raise InputError(f"{name[:80]}: expected the name of a file that ends in .toml")
    require_allowed(folder)
    if Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(resource_root() / "assets")):
        raise InputError(f"{folder}: expected a folder of your own, found one of the embedded suites'")
    return folder / name


def _checked(folder: Path, text: str, *, start: bool) -> None:
    """Draw what the check of the text finds, where it was asked for since the text was changed."""
    key = f"check:{digest(str(folder), text)}"
    path, workspace = str(folder / _SUITE), resources.workspace()

    def work(job: Job) -> object:
        return check_suite(path, workspace, job.progress, note=partial(setattr, job, "note"), text=text)

    if start:
        _jobs().start(key, "Checking the draft", work, unit="steps")
    job = _jobs().get(key)
    if job is None:
        return
    job.wait(opening.PATIENCE)
    seen = job.look()
    if seen.running:
        background.watch(job)
    elif seen.result is None:
        opening.stopped(job.title, seen.error)
    elif seen.result.findings:
        opening.findings("The draft can't be used yet", seen.result)
    else:
        st.success("The draft passed the check.", icon=":material/check_circle:")
        _lines("Remarks", seen.result.remarks)
