"""What all sessions share: the opened suite with its evaluator, measurements held in memory, background jobs."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Hashable
from pathlib import Path
from threading import Lock
from typing import Any

import streamlit as st

from ri_analysis.engine import Evaluator, default_workspace
from ri_analysis.suite import open_suite, suite_path
from ri_analysis.ui.jobs import Jobs

# Set by `ri-analysis app`.
SUITE, WORKSPACE, DEVICE = "RI_ANALYSIS_SUITE", "RI_ANALYSIS_WORKSPACE", "RI_ANALYSIS_DEVICE"

FOREGROUND, BACKGROUND = "pages", "jobs"


def suite_name() -> str:
    """Return which suite the app was started on."""
    return os.environ.get(SUITE) or "demo"


def device() -> str:
    """Return the device that the app computes on."""
    return os.environ.get(DEVICE) or "auto"


def evaluator(purpose: str = FOREGROUND) -> Evaluator:
    """Return the evaluator of the app's suite. Background jobs have one of their own, so that pages need not wait.

    Raises InputError when the suite can't be read.
    """
    path = suite_path(suite_name())
    modified = path.stat().st_mtime_ns if path.is_file() else 0
    return _evaluator(str(path), modified, os.environ.get(WORKSPACE), device(), purpose)


@st.cache_resource(max_entries=4, show_spinner=False)
def _evaluator(path: str, modified: int, workspace: str | None, device_name: str, purpose: str) -> Evaluator:
    folder = Path(workspace).expanduser() if workspace else default_workspace()
    return Evaluator(open_suite(path, folder), folder, device_name)


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


@st.cache_resource(max_entries=1, show_spinner=False)
def jobs() -> Jobs:
    """Return the app's background jobs."""
    return Jobs()
