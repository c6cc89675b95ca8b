"""The command line with a fault that `sessions.py` is to find, in a hurry, or disturbed: `altered_app.py HOW app …`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import streamlit as st

from ri_analysis.cli import main
from ri_analysis.ui import analysis, asking, measuring, state
from ri_analysis.views import figure_page


def memory() -> None:
    """What is held of one recipe is given to whoever asks for another."""

    def key(what: str, evaluator: Any, recipe: Any, limit: int | None = None) -> tuple[Hashable, ...]:
        return (what, limit)

    measuring.memory_key = key


def session() -> None:
    """All sessions share what each has chosen."""
    shared, read = state.Texts(), state.read_url

    def read_url() -> None:
        read()
        shared.update(st.session_state[state._CHOICE])
        st.session_state[state._CHOICE] = shared

    state.read_url = read_url


def hasty() -> None:
    """No fault: of every analysis only the first look is given."""

    def first_look(question: asking.Question) -> Any:
        return replace(question, limit=question.analysis.limits[0]).now()

    analysis.best_so_far = figure_page.best_so_far = first_look


def clock() -> None:
    """No fault of its own: while pages are drawn the clock is set back by 400 days."""
    now = time.time

    def set_back() -> None:
        time.time = lambda: now() - 400 * 24 * 3600  # type: ignore[assignment]

    threading.Timer(BEGUN, set_back).start()


def asleep() -> None:
    """No fault of its own: while pages are drawn the app's processes stand still for some seconds, and go on."""
    pid = os.getpid()
    subprocess.Popen(["sh", "-c", f"sleep {BEGUN}; kill -STOP {pid}; sleep {ASLEEP}; kill -CONT {pid}"])


BEGUN, ASLEEP = 25.0, 12.0  # seconds from the start of the app; and until it goes on
WAYS = {"memory": memory, "session": session, "hasty": hasty, "clock": clock, "asleep": asleep}

if __name__ == "__main__":
    WAYS[sys.argv[1]]()
    sys.exit(main(sys.argv[2:]))
