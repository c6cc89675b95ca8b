"""Opening a suite: checked in the background, with progress, before any page measures on it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from ri_analysis.engine import Evaluator, Report, check_suite
from ri_analysis.errors import Cancelled
from ri_analysis.figures import words
from ri_analysis.suite import EMBEDDED
from ri_analysis.ui import background, frame, resources
from ri_analysis.ui.jobs import Job, Jobs

_SEEN = "opening.seen"  # the opening of a suite that this session has drawn last
_DRAWN = "opening.drawn"  # whether the page's frame was drawn for a suite that is open

PATIENCE = 0.5  # seconds a page waits before it shows progress: most suites are checked in less
_FEW = 6  # problems shown without a scroll bar


def evaluator() -> Evaluator:
    """Return the open suite's evaluator.

    Where the suite is still being checked, or is unusable, the page shows that and goes no further.
    """
    if not _shipped():
        report = open_report()
        if report.findings:
            unusable(report)
            st.page_link("pages/experts.py", label="Open another suite", icon=":material/folder_open:")
            raise frame.PageEnd
    return resources.evaluator()


def is_open() -> bool:
    """Whether pages can measure on the open suite now; asked once a run, for what is drawn around the page.

    A suite one of whose files has changed is reopened.
    """
    _renew()
    report = None if _shipped() else _checked(resources.suite_name()).look().result
    found = _shipped() or (report is not None and not report.findings)
    st.session_state[_DRAWN] = found
    return found


def remarks() -> Sequence[str]:
    """Return the remarks about the open suite's files; none until its check has ended."""
    report = None if _shipped() else _checked(resources.suite_name()).look().result
    return () if report is None else report.remarks


def open_report() -> Report:
    """Return what was found in the open suite; until that is known, the page shows progress and goes no further."""
    job = _checked(resources.suite_name())
    seen = job.look()
    report: Report | None = seen.result
    if report is None:
        if seen.running:
            background.watch(job)
        else:
            stopped(job.title, seen.error)
            again()
        raise frame.PageEnd
    if not report.findings and not st.session_state[_DRAWN]:
        st.rerun()  # it became known between the frame and the page: the frame lacks the recipe
    return report


def start(suite: str) -> Job:
    """Read a suite's files again, and check them in the background."""
    if suite not in EMBEDDED:  # whose files do not change
        resources.reopen(suite)
    return _check(suite)


def _check(suite: str) -> Job:
    jobs, name = _jobs(), _name(suite)
    folder, files = resources.workspace(), resources.files(suite)

    def work(job: Job) -> Report:
        return check_suite(suite, folder, job.progress, files=files, note=partial(setattr, job, "note"))

    return jobs.start(name, f"Opening {resources.short(suite)}", work, unit="steps")


def renew(reason: str) -> None:
    """Reopen the suite, for `reason`, and draw the page again."""
    resources.reopen(resources.suite_name(), reason)
    st.rerun()


def _renew() -> None:
    """Reopen the suite where a file has changed; where that was done, by any session, say so."""
    suite = resources.suite_name()
    changed = resources.files(suite).changed_anywhere()
    if changed is not None:
        renew(f"{changed}: changed since it was opened")
    seen, now = st.session_state.get(_SEEN), resources.stamp(suite)
    if seen is not None and seen[0] == now[0] and seen != now and resources.reopened(suite):
        text = f"{resources.reopened(suite)}; the suite was reopened."
        st.toast(frame.plain(text), icon=":material/sync:", duration="long")
    st.session_state[_SEEN] = now


def job_of(suite: str) -> Job | None:
    """Return the latest check of a suite, None when there was none since its file was changed."""
    return _jobs().get(_name(suite))


def stopped(title: str, error: BaseException | None) -> None:
    """Say why a check has no report."""
    if isinstance(error, Cancelled):
        st.info("Opening was cancelled.", icon=":material/pause_circle:")
    else:
        st.error(frame.plain(f"{title} stopped: {error}"), icon=":material/warning:")


def findings(headline: str, report: Report, after: str = "") -> None:
    """Draw findings as one message: each part, what is wrong with it, and what to do; `after` follows their number."""
    found = report.findings
    lines = [
        f"- **{frame.plain(item.about)}**: {frame.plain(item.problem)}  \n  *→ {frame.plain(item.remedy)}*"
        for item in found
    ]
    with st.container(height=420 if len(found) > _FEW else "content"):
        count = words.count(len(found), "problem")
        st.error(
            f"{frame.plain(headline)}: {count}.{frame.plain(after)}\n\n" + "\n".join(lines), icon=":material/warning:"
        )


def unusable(report: Report) -> None:
    """Draw why the open suite can't be used, and a way to check again once it is fixed."""
    findings(f"{resources.short(resources.suite_name())} can't be used", report)
    again()


def again() -> None:
    """Draw a button that has the open suite checked again."""
    if st.button("Check again", icon=":material/refresh:", key="opening.again"):
        start(resources.suite_name())
        st.rerun()


def _shipped() -> bool:
    """Whether the open suite came with the program, whose tests check it."""
    return resources.suite_name() in EMBEDDED


def _checked(suite: str) -> Job:
    """Return the latest check of a suite, started here when there was none; quick ones have ended."""
    job = job_of(suite) or _check(suite)
    job.wait(4 * PATIENCE if suite in EMBEDDED else PATIENCE)  # those that came with the program are soon done
    return job


def _jobs() -> Jobs:
    return resources.jobs("opening")


def _name(suite: str) -> str:
    path, opened = resources.stamp(suite)
    return f"{path}:{opened}"
