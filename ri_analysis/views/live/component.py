"""The component itself: data goes in, messages of the reader's acts come out (live.js says what they hold)."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Any

import streamlit as st

KEY = "merge.live"


def message() -> dict[str, Any]:
    """Return the latest message of this session's component, empty before the first."""
    found = st.session_state.get(KEY)
    return dict((found or {}).get("message") or {})


def show(data: dict[str, Any]) -> None:
    """Draw the component, or hand the one that stands there new data."""
    _component()(key=KEY, data=data, on_message_change=lambda: None)


@lru_cache(maxsize=1)
def _component() -> Any:
    folder = resources.files(__package__)
    css, *js = ((folder / name).read_text(encoding="utf-8") for name in ("live.css", "slide.js", "live.js"))
    return st.components.v2.component("ri_analysis_live", html='<div class="ri-live"></div>', css=css, js="\n".join(js))
