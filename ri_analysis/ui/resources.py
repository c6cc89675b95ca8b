"""What all sessions share: the opened suite with its evaluator, measurements held in memory, background jobs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Hashable
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import streamlit as st
import torch

from ri_analysis import plugins
from ri_analysis.documents import own_path
from ri_analysis.engine import Evaluator, default_workspace
from ri_analysis.errors import InputError
from ri_analysis.memory import Recent, bytes_of
from ri_analysis.stamps import Watch
from ri_analysis.suite import EMBEDDED, open_suite, resource_root, suite_path
from ri_analysis.ui import state
from ri_analysis.ui.jobs import Jobs

# Set by `ri-analysis app`.
SUITE, WORKSPACE, DEVICE = "RI_ANALYSIS_SUITE", "RI_ANALYSIS_WORKSPACE", "RI_ANALYSIS_DEVICE"
ALLOW = "RI_ANALYSIS_ALLOW"  # more folders that may be read, separated as those of PATH
FRESH = "RI_ANALYSIS_FRESH"  # set where the answers that come with a suite are left out
SHARED = "RI_ANALYSIS_SHARED"  # set where others may see the pages, by a token
FLOAT32 = "RI_ANALYSIS_FLOAT32"  # set where float32 is measured in, also where bfloat16 is faster and agrees

CHOSEN_SUITE = "suite"  # the entry of the reader's choice that names another suite than the app was started on

FOREGROUND, BACKGROUND = "pages", "jobs"
AGAIN = "again"  # the purpose of an evaluator that measures what came with the suite

# What is held of answers, together: twenty sessions ask for hundreds that differ, and a job's must still be there when
# its page looks for it.
_HELD, _MOST = 512 << 20, 1024  # bytes, and how many

_REOPENING = Lock()
_opened: set[str] = set()  # paths of suites that something may be held of

Answer = TypeVar("Answer")


def suite_name() -> str:
    """Return which suite is open: the reader's choice, by default the one that the app was started on."""
    return state.choice().get(CHOSEN_SUITE) or first_suite()


def first_suite() -> str:
    """Return which suite the app was started on."""
    return os.environ.get(SUITE) or "demo"


def short(suite: str) -> str:
    """Return a suite's name, or the end of its path."""
    return suite if suite in EMBEDDED else "/".join(Path(suite).parts[-2:])


def workspace() -> Path:
    """Return the folder of stored answers and of what this app remembers."""
    folder = os.environ.get(WORKSPACE)
    return own_path(folder) if folder else default_workspace()


def named_folders() -> list[Path]:
    """Return the folders whose suites may be opened: that of the suite the app was started on, and `--allow`'s."""
    named = [own_path(folder) for folder in os.environ.get(ALLOW, "").split(os.pathsep) if folder]
    first = own_path(first_suite())
    own = [] if first_suite() in EMBEDDED else [first if first.is_dir() else first.parent]
    return [*own, *named]


def readable_folders() -> list[Path]:
    """Return the folders that the app may read: those that come with it, the workspace, and those that were named."""
    return [resource_root() / "assets", workspace(), *named_folders()]


@lru_cache(maxsize=1)
def load_plugins(names: str) -> tuple[str, ...]:
    """Load the plug-ins that the environment names, no others; return what is wrong with those that are left out."""
    said: list[str] = []
    plugins.load(plugins.named(), said.append)
    print(*said, sep="\n", end="\n" if said else "", file=sys.stderr)
    return tuple(said)


def device() -> str:
    """Return the device that the app computes on."""
    return os.environ.get(DEVICE) or "auto"


def stamp(suite: str) -> tuple[str, str]:
    """Return the path of a suite's file, the name itself where there is none, and what names how it was opened last.

    The latter changes with the suite file, and with each call of `reopen`.
    """
    try:
        path = suite_path(suite)
        place, modified = str(path), path.stat().st_mtime_ns
    except (InputError, OSError):
        place, modified = suite, 0
    return place, f"{modified}:{_reopened().get(place, (0, ''))[0]}"


def evaluator(purpose: str = FOREGROUND, suite: str | None = None) -> Evaluator:
    """Return the evaluator of a suite, the open one by default; a background job has to name it.

    Background jobs have evaluators of their own, so that pages need not wait. Raises InputError when the suite can't
    be read.
    """
    path, opened = stamp(suite or suite_name())
    found = _evaluator(path, opened, str(workspace()), device(), purpose)
    _opened.add(path)
    return found


@st.cache_resource(max_entries=6, show_spinner=False)  # two suites for three purposes
def _evaluator(path: str, opened: str, folder: str, device_name: str, purpose: str) -> Evaluator:
    suite = open_suite(path, Path(folder), _files(path, opened))
    number_format = torch.float32 if os.environ.get(FLOAT32) else None
    fresh = purpose == AGAIN or bool(os.environ.get(FRESH))
    return Evaluator(suite, Path(folder), device_name, number_format=number_format, fresh=fresh)


def files(suite: str) -> Watch:
    """Return the files of a suite as all sessions and jobs have opened them."""
    return _files(*stamp(suite))


@st.cache_resource(max_entries=16, show_spinner=False)
def _files(path: str, opened: str) -> Watch:
    return Watch()


def opened(evaluator: Evaluator) -> Hashable:
    """Return what an answer in memory is about besides the weights: the suite's files as this evaluator opened them.

    A page that began before the suite was reopened still asks the evaluator of before.
    """
    return evaluator.suite.files


def reopen(suite: str, reason: str = "") -> None:
    """Have a suite's files read again, in every session, when they are next needed."""
    place, _ = stamp(suite)
    if place not in _opened and not _is_there(suite):  # a name that somebody types takes nothing from the others
        return
    with _REOPENING:  # two sessions at once are two times
        _reopened()[place] = (_reopened().get(place, (0, ""))[0] + 1, reason)
    if place in _opened:
        forget()


def _is_there(suite: str) -> bool:
    try:
        return suite_path(suite).is_file()
    except (InputError, OSError):
        return False


def forget() -> None:
    """Have everything asked of the store again that is held in memory."""
    _evaluator.clear()
    memory.clear()


def reopened(suite: str) -> str:
    """Return why a suite was last reopened, empty where the reader asked for it or it never was."""
    return _reopened().get(stamp(suite)[0], (0, ""))[1]


@st.cache_resource(max_entries=1, show_spinner=False)
def _reopened() -> dict[str, tuple[int, str]]:
    """How often each suite was reopened, and why the last time."""
    return {}


@st.cache_resource(max_entries=1, show_spinner=False)
def memory() -> Recent[Hashable, Any]:
    """Return what the app worked out last: the store keeps outcomes per image, this the tables made of them."""
    # One that is large counts as less: a page that waits for it must find it.
    return Recent(_HELD, most=_MOST, measured=lambda answer: min(bytes_of(answer), _HELD // 16))


def remembered(key: Hashable, work: Callable[[], Answer]) -> Answer:
    """Return what is held in memory under `key`, worked out first where nothing is."""
    held = memory()  # the one of now: after `reopen` there is another
    found: Answer | None = held.get(key)
    if found is None:
        found = work()
        held.put(key, found)
    return found


@st.cache_resource(max_entries=8, show_spinner=False)
def jobs(purpose: str = BACKGROUND) -> Jobs:
    """Return the app's background jobs; those of another purpose do not wait for them."""
    return Jobs(purpose)
