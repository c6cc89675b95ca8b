"""The sections of a page, and the row of links to them."""

from __future__ import annotations

import re
from html import escape

import streamlit as st

from ri_analysis.figures import look
from ri_analysis.ui import frame

_PLACE, _SECTIONS = "ri.contents.place", "ri.contents.sections"
_FEWEST = 2  # sections of which a list is of use

STYLE = f"""
<style>
.contents {{ display: flex; flex-wrap: wrap; gap: 0 1.2rem; min-height: 1.5rem; font-size: .875rem; }}
.contents a {{
  color: light-dark({look.AFTER.colour}, {look.TASKS[1]}); text-decoration: none; white-space: nowrap;
}}
.contents a:hover, .contents a:focus {{ text-decoration: underline; }}
@media (max-width: 640px) {{
  .contents {{ flex-wrap: nowrap; overflow-x: auto; padding-right: 2rem;
    mask-image: linear-gradient(to right, black calc(100% - 2.5rem), transparent); }}
}}
</style>
"""


def begin() -> None:
    """Forget the sections of the page before."""
    st.session_state[_SECTIONS] = {}
    st.session_state[_PLACE] = None


def contents() -> None:
    """Take the place where the links stand: they come as the sections are drawn."""
    st.session_state[_PLACE] = st.empty()
    _draw()


def header(title: str, *, help: str | None = None) -> None:
    """Draw the heading of a section, with an anchor that the list of contents leads to."""
    st.header(frame.plain(title), anchor=anchor(title), divider="gray", help=help)
    sections: dict[str, str] = st.session_state.setdefault(_SECTIONS, {})
    if anchor(title) not in sections:  # a fragment that runs again draws its headings again
        sections[anchor(title)] = title
        _draw()


def anchor(title: str) -> str:
    """Return the name of a section in an address."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _draw() -> None:
    place, sections = st.session_state.get(_PLACE), st.session_state.get(_SECTIONS, {})
    if place is not None:
        shown = sections.items() if len(sections) >= _FEWEST else ()
        links = "".join(f'<a href="#{name}" target="_self">{escape(title)}</a>' for name, title in shown)
        place.html(f'<nav class="contents" aria-label="On this page">{links}</nav>')
