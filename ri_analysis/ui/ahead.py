"""What lets a visitor's first figure appear early: the browser loads what draws it while the server still works."""

from __future__ import annotations

import json
import time
from functools import lru_cache
from pathlib import Path

import streamlit as st
from streamlit.file_util import get_static_dir
from streamlit.runtime import exists

_PARTS = ("PlotlyChart", "DataFrame")  # of Streamlit's front end, which asks for them when the first figure has come
_GAVE, _MOMENT = "ri.gave_way", 0.6  # seconds


def load() -> None:
    """Have the browser load what draws figures and tables now."""
    st.html(_script(), unsafe_allow_javascript=True)


def give_way() -> None:
    """Wait a moment, once a session, after something was shown: the browser draws all that it has got in one go.

    On two cores it takes half a second to load what draws figures, and 0.13 s to draw each of them: without the wait
    the first of seven is seen when the last is drawn.
    """
    if exists() and not st.session_state.get(_GAVE):
        st.session_state[_GAVE] = True
        time.sleep(_MOMENT)


@lru_cache(maxsize=1)
def _script() -> str:
    files = Path(get_static_dir(), "static", "js")
    names = [path.name for part in _PARTS for path in files.glob(f"{part}.*.js")]
    # Relative to the front end's own script: the app may stand below a base path.
    return (
        "<script>{const own = document.querySelector('script[type=module]');"
        f"for (const name of {json.dumps(names)}) own && import(new URL(name, own.src)).catch(() => {{}});}}</script>"
    )
