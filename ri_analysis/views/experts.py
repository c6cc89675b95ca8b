"""The Experts page: open a suite, what each of its files is, and what fine-tuning changed."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from ri_analysis.allowed import is_allowed
from ri_analysis.analyses.task_vectors import ANALYSIS as TASK_VECTORS
from ri_analysis.engine import Evaluator, Report
from ri_analysis.figures import words
from ri_analysis.files import write_text
from ri_analysis.json_text import from_json, to_json
from ri_analysis.suite import EMBEDDED
from ri_analysis.ui import ahead, analysis, background, frame, opening, recipes, resources, state

_PATH, _PICKED, _OPENING = "widget.experts.path", "widget.experts.recent", "ri.opening"
_REMEMBERED = 8  # suites opened last


# --- opening another suite --------------------------------------------------------------------------------


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
            "Other suites", others, format_func=resources.short, key=_PICKED, on_change=_open_picked,
            help="Suites that come with the program, and those opened last.",
        )  # fmt: skip
    wanted = st.session_state.get(_OPENING)
    if wanted is not None:
        _follow(wanted)


def known_suites() -> list[str]:
    """Return the suites to offer: the one the app was started on, those opened last, the embedded ones."""
    recent = (suite for suite in _recent() if suite in EMBEDDED or is_allowed(Path(suite)))
    return list(dict.fromkeys([resources.first_suite(), *recent, *EMBEDDED]))


def _recent() -> list[str]:
    try:
        found = from_json(_note().read_text(encoding="utf-8"))
    except (OSError, ValueError):
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
    st.session_state[_OPENING] = suite
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
    st.button("Close", key="experts.close", on_click=st.session_state.pop, args=(_OPENING,), type="tertiary")


def _open_instead(report: Report) -> None:
    """Offer the suites that lie where there is none."""
    for number, path in enumerate(report.instead.suites if report.instead is not None else ()):
        label = f"Open {frame.plain(resources.short(str(path)))}"
        st.button(
            label, key=f"experts.instead.{number}", on_click=_begin, args=(str(path),), icon=":material/folder_open:"
        )


def _change_over(suite: str) -> None:
    """Make `suite` the open one on every page; what was chosen for the other's tasks and images goes."""
    name = suite if suite in EMBEDDED else str(Path(_place(suite)).resolve())
    _remember(name)
    st.session_state.pop(_OPENING)
    kept = {key: text for key, text in state.choice().items() if recipes.of_any_suite(key)}
    state.clear("")
    for key, text in kept.items():
        state.put(key, text)
    state.put(resources.CHOSEN_SUITE, None if _place(name) == _place(resources.first_suite()) else name)
    st.rerun()


# --- the open suite ---------------------------------------------------------------------------------------


def open_name() -> str:
    """Return what the open suite is called, as Markdown."""
    return frame.plain(resources.short(resources.suite_name()))


def check(report: Report) -> None:
    """Draw every finding of the check, with what to do, all remarks, and the checks that passed.

    That all is well is not said below what is wrong with another suite: it would be read as its contradiction.
    """
    if report.findings:
        opening.unusable(report)
    elif report.remarks:
        remarks = words.count(len(report.remarks), "remark")
        st.warning(
            f"All files can be read, with {remarks}: read them before you trust the numbers.", icon=":material/warning:"
        )
    elif _OPENING not in st.session_state:
        st.markdown(":green[:material/check_circle:] All files are valid.")
    _lines("Remarks", report.remarks, expanded=True)
    _lines("Passed checks", report.passed)


def _lines(title: str, lines: list[str], *, expanded: bool = False) -> None:
    if lines:
        with st.expander(f"{title} ({len(lines)})", expanded=expanded):
            st.markdown("\n".join(f"- {frame.plain(line)}" for line in lines))


def files(report: Report) -> None:
    """Draw one row per file of weights."""
    table = report.file_table()
    folder, number = os.path.commonpath(map(os.path.dirname, table["path"])), st.column_config.NumberColumn
    st.dataframe(
        table.assign(path=[os.path.relpath(path, folder) for path in table["path"]]),
        hide_index=True,
        key="experts.files",
        column_order=("model", "experts", "path", "kind", "parameters", "dtype", "size", "taken", "ignored", "filled"),
        column_config={
            "experts": "set",
            "kind": "format",
            "parameters": number(format="compact", help="Values in the file, those of a text tower included"),
            "dtype": "type",
            "size": number(format="bytes"),
            "taken": number("used", help="Tensors of the file that make the vision tower"),
            "ignored": number("other", help="Not needed: a text tower, the optimiser's state, buffers …"),
            "filled": number("filled in", help="Tensors that the file lacks, taken from the pretrained model"),
            "path": "file",
        },
    )
    embedded = resources.suite_name() in EMBEDDED
    where = "part of the installed package" if embedded else f"below {frame.plain(folder)}"
    st.caption(f"Files are {where}. *used*, *other* and *filled in* count tensors; no code in a file was run.")
    ahead.give_way()


def changes(evaluator: Evaluator, report: Report) -> None:
    """Draw how large each task vector is, block by block, and how much they point the same way, before and after RI."""
    pair, seen = recipes.chosen_pair(evaluator), {item.experts for item in report.files}
    sets = pair.map(lambda recipe: recipe.experts)
    if not seen.issuperset(sets):
        st.info("An expert set is newer than the last check.", icon=":material/info:")
        opening.again()
        return
    # The check has read all weights: the answer is kept.
    found = TASK_VECTORS.ask(evaluator, pair)
    st.markdown(TASK_VECTORS.says(found))
    analysis.charts(TASK_VECTORS, found)
