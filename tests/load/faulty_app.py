"""The command line with a fault of the kind that `sessions.py` is to find: `faulty_app.py FAULT app …`."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from typing import Any

import streamlit as st

from ri_analysis.cli import main
from ri_analysis.ui import measuring, state


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


FAULTS = {"memory": memory, "session": session}

if __name__ == "__main__":
    FAULTS[sys.argv[1]]()
    sys.exit(main(sys.argv[2:]))
