"""What all sessions share: the opened suite with its evaluator, measurements held in memory, background jobs."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import streamlit as st

from ri_analysis.engine import Evaluator, default_workspace
from ri_analysis.errors import InputError
from ri_analysis.suite import open_suite, suite_path
from ri_analysis.ui import state
from ri_analysis.ui.jobs import Jobs

# Set by `ri-analysis app`.
SUITE, WORKSPACE, DEVICE = "RI_ANALYSIS_SUITE", "RI_ANALYSIS_WORKSPACE", "RI_ANALYSIS_DEVICE"

CHOSEN_SUITE = "suite"  # the entry of the reader's choice that names another suite than the app was started on

FOREGROUND, BACKGROUND = "pages", "jobs"

Answer = TypeVar("Answer")


def suite_name() -> str:
    """Return which suite is open: the reader's choice, by default the one that the app was started on."""
    return state.choice().get(CHOSEN_SUITE) or first_suite()


def first_suite() -> str:
    """Return which suite the app was started on."""
    return os.environ.get(SUITE) or "demo"


def workspace() -> Path:
    """Return the folder of stored answers and of what this app remembers."""
    folder = os.environ.get(WORKSPACE)
    return Path(folder).expanduser() if folder else default_workspace()


def device() -> str:
    """Return the device that the app computes on."""
    return os.environ.get(DEVICE) or "auto"


def stamp(suite: str) -> tuple[str, int]:
    """Return the path of a suite's file and when it was changed; (the name itself, 0) where there is no such file."""
    try:
        path = suite_path(suite)
        return str(path), path.stat().st_mtime_ns
    except (InputError, OSError):
        return suite, 0


def evaluator(purpose: str = FOREGROUND, suite: str | None = None) -> Evaluator:
    """Return the evaluator of a suite, the open one by default; a background job has to name it.

    Background jobs have evaluators of their own, so that pages need not wait. Raises InputError when the suite can't
    be read.
    """
    path, modified = stamp(suite or suite_name())
    return _evaluator(path, modified, str(workspace()), device(), purpose)


@st.cache_resource(max_entries=4, show_spinner=False)
def _evaluator(path: str, modified: int, folder: str, device_name: str, purpose: str) -> Evaluator:
    return Evaluator(open_suite(path, Path(folder)), Path(folder), device_name)


def forget_files() -> None:
    """Have files of weights and images read anew when they are next asked for."""
    _evaluator.clear()


class Memory:
    """The measurements used last: the store keeps outcomes per image, this keeps the tables made of them."""

    def __init__(self, size: int = 64) -> None:
        self._size, self._lock = size, Lock()
        self._items: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable) -> Any:
        """Return what is held under `key`, None when nothing is."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: Hashable, value: object) -> None:
        """Hold a value; the one used longest ago goes when there are too many."""
        with self._lock:
            self._items[key] = value
            while len(self._items) > self._size:
                self._items.popitem(last=False)


@st.cache_resource(max_entries=1, show_spinner=False)
def memory() -> Memory:
    """Return the app's memory of measurements."""
    return Memory()


def remembered(key: Hashable, work: Callable[[], Answer]) -> Answer:
    """Return what is held in memory under `key`, worked out first where nothing is."""
    found: Answer | None = memory().get(key)
    if found is None:
        found = work()
        memory().put(key, found)
    return found


@st.cache_resource(max_entries=4, show_spinner=False)
def jobs(purpose: str = BACKGROUND) -> Jobs:
    """Return the app's background jobs; those of another purpose do not wait for them."""
    return Jobs(purpose)
