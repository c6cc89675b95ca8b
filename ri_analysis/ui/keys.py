"""The keyboard: one sheet of all keys, and a way from page to page."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import streamlit as st

_LABEL = "Keys"
PAGES = {
    "Overview": "o", "Merge": "m", "Accuracy": "a", "Interference": "i", "Compare": "c", "Sensitivity": "s",
    "Studies": "t", "Embeddings": "e", "Experts": "x", "Resolve": "r", "Figures": "f",
}  # fmt: skip
_ELSEWHERE = {
    "Everywhere": {"?": "show these keys", "Tab": "next control"},
    "Merge, on a slider": {
        "← →": "one step",
        "Page ↑ ↓": "a tenth of the range",
        "Home End": "lowest or highest value",
        "Ctrl Z": "undo",
        "Ctrl Y": "redo",
    },
    "Embeddings, on a map": {
        "← → ↑ ↓": "move",
        "+ −": "zoom",
        "Enter": "select what is in view",
        "Esc": "clear the selection",
    },
}


def link() -> None:
    """Draw the button that opens the sheet."""
    with st.popover(_LABEL, icon=":material/keyboard:", width="content", type="tertiary"):
        st.markdown(_sheet())


def listen() -> None:
    """Have the page follow the keys that no control has: `?`, and `g` with a page's letter."""
    st.html(_script(), unsafe_allow_javascript=True)


def _sheet() -> str:
    pages = {f"g {letter}": title for title, letter in PAGES.items()}
    groups = {**_ELSEWHERE, "Go to a page, one key after the other": pages}
    return "\n\n".join(f"**{where}**  \n{_listed(keys)}" for where, keys in groups.items())


def _listed(keys: dict[str, str]) -> str:
    marked = (" ".join(f"`{key}`" for key in together.split()) + f" {what}" for together, what in keys.items())
    return ", ".join(marked)


@lru_cache(maxsize=1)
def _script() -> str:
    text = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    known = {"LABEL": _LABEL, "PAGES": {letter: title for title, letter in PAGES.items()}}
    for name, value in known.items():
        text = text.replace(f"= {name};", f"= {json.dumps(value)};")
    return f"<script>{text}</script>"
