"""The live probe, made ready in the background as soon as the page opens, so that the first drag follows at once."""

from __future__ import annotations

import time
from contextlib import suppress

import streamlit as st

from ri_analysis.engine import Evaluator
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.live.probe import LiveProbe
from ri_analysis.progress import Counter
from ri_analysis.ui import resources
from ri_analysis.ui.jobs import Job, Jobs
from ri_analysis.ui.recipes import Pair

_LEFT = 5.0  # seconds without a question after which nobody waits for the preview any more


class Preview:
    """A suite's live probe, the same for all sessions.

    What is under way stops when no page has asked for a while, and goes on when one asks again.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self.probe: LiveProbe | None = None  # None until it is there
        self._evaluator, self._jobs = evaluator, Jobs("preview")
        self._ready: set[str] = set()
        self._asked = 0.0

    def ready(self, pair: Pair) -> bool:
        """Whether merges like a pair's can be looked at without delay; where not, that is being prepared."""
        self._asked = time.monotonic()
        key = str([(recipe.method, recipe.experts, recipe.tasks) for recipe in pair.all])
        if key in self._ready:
            return True
        job = self._jobs.get(key)
        error = None if job is None else job.error
        if job is None or isinstance(error, Cancelled):
            self._jobs.start(key, "Getting the live preview ready", lambda job: self._prepare(job, key, pair))
        elif error is not None:
            self._jobs.drop(key)  # tried again with the next question
            raise error
        return False

    def _prepare(self, job: Job, key: str, pair: Pair) -> None:
        def alive(done: int, total: int) -> None:
            if time.monotonic() - self._asked > _LEFT:
                raise Cancelled(job.title)
            job.progress(done, total)

        alive(0, 1)
        if self.probe is None:
            self.probe = LiveProbe(self._evaluator)
        with suppress(InputError):  # of this merge: whoever measures it says so
            self.probe.prepare(pair.all, Counter(alive, 1).alive)
        self._ready.add(key)


def preview(evaluator: Evaluator) -> Preview:
    """Return the preview of the open suite, the same for all sessions."""
    return _preview(evaluator, *resources.stamp(resources.suite_name()), str(resources.workspace()), resources.device())


@st.cache_resource(max_entries=2, show_spinner=False)
def _preview(_evaluator: Evaluator, path: str, opened: str, folder: str, device: str) -> Preview:
    return Preview(_evaluator)
