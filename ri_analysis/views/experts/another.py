"""How another suite is opened: by its path, by a click on one opened before, or drafted from a folder."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ri_analysis.allowed import is_allowed
from ri_analysis.documents import own_text
from ri_analysis.engine import Report
from ri_analysis.files import write_text
from ri_analysis.json_text import from_json, to_json
from ri_analysis.suite import EMBEDDED
from ri_analysis.ui import background, frame, opening, recipes, resources, state
from ri_analysis.views.experts import drafting

_PATH, _PICKED = "widget.experts.path", "widget.experts.recent"
OPENING = "ri.opening"  # the suite that is to be opened
_REMEMBERED = 8  # suites opened last


def open_another() -> None:
    """Draw how to open a suite by its path, or one opened before; the open one stays until the other is checked."""
    with st.form("experts.another", border=False):  # Enter opens
        path, button = st.columns([6, 1], vertical_alignment="bottom")
    path.text_input(
        "Suite file",
        key=_PATH,
        placeholder="/path/to/suite.toml, or the name of an embedded suite",
        help="A TOML file that names the pretrained model, the experts, heads and images; see the README.",
    )
    button.form_submit_button("Open", type="primary", width="stretch", key="experts.open", on_click=_open_typed)
    others = [name for name in known_suites() if _place(name) != _place(resources.suite_name())]
    if others:
        st.pills(
            "Other suites", others, format_func=_label, key=_PICKED, on_change=_open_picked,
            help="Suites that come with the program, and recently opened ones.",
        )  # fmt: skip
    drafting.draw(_begin)
    wanted = st.session_state.get(OPENING)
    if wanted is not None:
        _follow(wanted)


def _label(suite: str) -> str:
    return frame.plain(resources.short(suite))


def known_suites() -> list[str]:
    """Return the suites to offer: the one the app was started on, those opened last, the embedded ones."""
    recent = (suite for suite in _recent() if suite in EMBEDDED or is_allowed(Path(suite)))
    return list(dict.fromkeys([resources.first_suite(), *recent, *EMBEDDED]))


def _recent() -> list[str]:
    try:
        found = from_json(own_text(_note()))
    except ValueError:
        return []
    return [item for item in found if isinstance(item, str)] if isinstance(found, list) else []


def _note() -> Path:
    return resources.workspace() / "recent.json"


def _remember(suite: str) -> None:
    """Put a suite at the head of those opened last; not being able to is no reason to stop."""
    listed = list(dict.fromkeys([suite, *_recent()]))[:_REMEMBERED]
    try:
        write_text(_note(), to_json(listed, indent=2))
    except OSError:
        return


def _place(suite: str) -> str:
    return resources.stamp(suite)[0]


def _open_typed() -> None:
    text = str(st.session_state[_PATH]).strip()
    if text:
        _begin(text)


def _open_picked() -> None:
    if st.session_state[_PICKED] is not None:
        _begin(str(st.session_state[_PICKED]))
        st.session_state[_PICKED] = None


def _begin(suite: str) -> None:
    st.session_state[OPENING] = suite
    opening.start(suite)


def _follow(suite: str) -> None:
    """Draw how far the opening of `suite` is; change over to it once it has passed."""
    job = opening.job_of(suite)
    if job is None:  # its file was changed meanwhile
        job = opening.start(suite)
    job.wait(opening.PATIENCE)
    seen = job.look()
    if seen.running:
        background.watch(job)
        return
    report: Report | None = seen.result
    if report is not None and not report.findings:
        _change_over(suite)
    if report is None:
        opening.stopped(job.title, seen.error)
    else:
        still = f" {resources.short(resources.suite_name())} is still open."
        opening.findings(f"Could not open {suite}", report, still)
        _open_instead(report)
    st.button("Close", key="experts.close", on_click=st.session_state.pop, args=(OPENING,), type="tertiary")


def _open_instead(report: Report) -> None:
    """Offer the suites that lie where there is none, or to draft one."""
    instead = report.instead
    for number, path in enumerate(instead.suites if instead is not None else ()):
        label = f"Open {frame.plain(resources.short(str(path)))}"
        st.button(
            label, key=f"experts.instead.{number}", on_click=_begin, args=(str(path),), icon=":material/folder_open:"
        )
    if instead is not None and instead.folder is not None:
        label = f"Draft a suite file from {frame.plain(resources.short(str(instead.folder)))}"
        st.button(
            label,
            key="experts.instead.draft",
            on_click=_draft,
            args=(str(instead.folder),),
            icon=":material/edit_note:",
        )


def _draft(folder: str) -> None:
    st.session_state.pop(OPENING)
    drafting.begin(folder)


def _change_over(suite: str) -> None:
    """Make `suite` the open one on every page; what was chosen for the other's tasks and images goes."""
    name = suite if suite in EMBEDDED else str(Path(_place(suite)).resolve())
    _remember(name)
    st.session_state.pop(OPENING)
    kept = {key: text for key, text in state.choice().items() if recipes.of_any_suite(key)}
    state.clear("")
    for key, text in kept.items():
        state.put(key, text)
    state.put(resources.CHOSEN_SUITE, None if _place(name) == _place(resources.first_suite()) else name)
    st.rerun()
