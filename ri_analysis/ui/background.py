"""Answers that take long: asked for by a button, worked out in the background, watched, cancelled, and remembered."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import streamlit as st

from ri_analysis.engine import Evaluator
from ri_analysis.errors import Cancelled
from ri_analysis.figures import words
from ri_analysis.progress import Progress
from ri_analysis.ui import frame, resources
from ri_analysis.ui.jobs import Job

Work = Callable[[Evaluator, Progress], Any]
Drawing = Callable[[], None]


def on_request(
    key: tuple[Hashable, ...],
    label: str,
    title: str,
    work: Work,
    note: str = "",
    so_far: Drawing | None = None,
    *,
    at_once: bool = False,
    long: bool = False,
    purpose: str = resources.BACKGROUND,
) -> Any:
    """Return the answer under `key`; None, with a button, progress or what went wrong on the page, until it is there.

    `work` gets the evaluator of a purpose and a Progress that raises Cancelled once the reader asks for it.
    `so_far` draws what there is of the answer while it is worked out; `at_once` starts without the button. What is
    `long` lets other work pass, and goes on after its tab is closed, as all of this does.
    """
    name = f"{key[0]}:{hash(key)}"
    job = resources.jobs().get(name)
    seen = None if job is None else job.look()  # before its answer is looked for: it may end now
    found = resources.memory().get(key)
    if found is not None:
        return found
    if job is None or seen is None or not seen.running:
        explain(job)
        ask = not at_once or (seen is not None and seen.error is not None)
        if ask and not _asked(label, f"start.{key[0]}", note, quiet=purpose == resources.AGAIN):
            return None
        suite = resources.suite_name()
        job = resources.jobs().start(name, title, lambda job: _work(job, key, work, suite, purpose), long=long)
        if not at_once:
            st.rerun()  # without the button
    watch(job, so_far)
    return None


def _asked(label: str, key: str, note: str, *, quiet: bool) -> bool:
    """Draw the button that starts something with what is to be said of it; return whether it was pressed."""
    if quiet:
        row = st.container(horizontal=True, gap="xsmall", vertical_alignment="center", key=f"row.{key}")
        row.caption(note, width="content")
        return row.button(label, key=key, type="tertiary", icon=":material/refresh:")
    left, right = st.columns([2, 5], vertical_alignment="center")
    if left.button(label, key=key, width="stretch"):
        return True
    right.caption(note)
    return False


def measured_before(name: str, key: tuple[Hashable, ...], title: str, work: Work) -> None:
    """Say that what stands above came with the suite, and offer to measure it here by `work`, which keeps the result.

    `name` is unique on the page, `key` names what is measured.
    """
    shipped = resources.evaluator().store.shipped
    if shipped is None or shipped.made is None:
        return

    def again(evaluator: Evaluator, progress: Progress) -> bool:
        evaluator.choose_number_format(lambda *_: progress(0, 0))
        work(evaluator, progress)
        resources.forget()  # the store answers with what is kept now
        return True

    note = f"Result that came with the suite: {frame.plain(shipped.made.says)}."
    on_request((f"again.{name}", *key), "Measure again", title, again, note, purpose=resources.AGAIN)


def _work(job: Job, key: tuple[Hashable, ...], work: Work, suite: str, purpose: str) -> None:
    memory = resources.memory()  # the one of now: after `reopen` there is another
    memory.put(key, work(resources.evaluator(purpose, suite), job.progress))


def explain(job: Job | None) -> None:
    """Say why a job ended early, where it did."""
    error = None if job is None else job.error
    if job is None or error is None:
        return
    if isinstance(error, Cancelled):
        st.caption("Cancelled. Measurements so far are saved; start again to resume.")
    else:
        st.error(frame.plain(f"{job.title} stopped: {error}"), icon=":material/warning:")


def watch(job: Job, so_far: Drawing | None = None) -> None:
    """Draw how far a job is, a way to cancel, and what there is of its answer; run the page again afterwards."""
    st.fragment(_watch, run_every=1.0 if so_far is None else 2.0)(job, so_far)


def _watch(job: Job, so_far: Drawing | None) -> None:
    if not job.running:
        st.rerun()
    bar, button = st.columns([5, 1], vertical_alignment="center")
    note = "stopping" if job.cancelled else job.note
    bar.progress(job.pace.share, text=frame.plain(words.how_far(job.title, job.pace, note, job.unit)))
    button.button("Cancel", key=f"cancel.{job.key}", on_click=job.cancel, disabled=job.cancelled, width="stretch")
    st.caption("Continues if you close this tab; finished parts are saved.")
    if so_far is not None:
        so_far()
