"""What the reader has chosen: one flat dictionary of texts, the same as the URL's parameters.

Widgets are seeded from it and write back to it, so that a choice outlives the widget when another page is shown, and
a link restores the page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from ri_analysis.figures import words

_CHOICE, _WRITTEN, _FOUND = "ri.choice", "ri.written", "ri.found"
_WANTED, _LINKED = "ri.wanted", "ri.linked"
_BY_LINK, _IGNORED = "ri.by_link", "ri.ignored"
Texts = dict[str, str]


_ENTRIES: set[str] = set()


def entry(name: str) -> str:
    """Declare an entry of the choice, so that links may hold it; return its name."""
    _ENTRIES.add(name)
    return name


def entries() -> frozenset[str]:
    """Return the entries that were declared."""
    return frozenset(_ENTRIES)


def choice() -> Texts:
    """Return the choice, to read; change it with `put`."""
    found: Texts = st.session_state.setdefault(_CHOICE, {})
    return found


def put(name: str, text: str | None) -> None:
    """Set one entry; None takes it out, which means the default."""
    if text is None:
        choice().pop(name, None)
    else:
        choice()[name] = text


def clear(*prefixes: str) -> None:
    """Take out every entry that starts with one of `prefixes`."""
    for name in [name for name in choice() if name.startswith(prefixes)]:
        put(name, None)


def read_url() -> None:
    """Take over the URL where the reader changed it: at the start, by a link, or by going back."""
    found = st.query_params.to_dict()
    st.session_state.setdefault(_LINKED, bool(found))
    # It may still be the one read last: a component writes the URL itself, a moment later.
    ours = [st.session_state.get(name) for name in (_WRITTEN, _FOUND)]
    if _CHOICE not in st.session_state or (found and found not in ours):
        st.session_state[_CHOICE], st.session_state[_BY_LINK] = dict(found), dict(found)
        st.session_state.pop(_IGNORED, None)
        st.session_state[_WRITTEN] = found
    st.session_state[_FOUND] = found


def write_url(wanted: Callable[[str], bool]) -> None:
    """Put the entries whose name is `wanted` into the URL, now and whenever a widget changes one."""
    st.session_state[_WANTED] = wanted
    _write(wanted)


def came_by_link() -> bool:
    """Whether the session began with a link that says what to show."""
    return bool(st.session_state.get(_LINKED))


def by_link(name: str) -> bool:
    """Whether an entry says what the link said that was followed last."""
    said: Texts = st.session_state.get(_BY_LINK, {})
    return name in said and said[name] == choice().get(name)


def ignored() -> Texts:
    """Return why each entry that was left out is no use, until another link is followed or `ignored().clear()`."""
    found: Texts = st.session_state.setdefault(_IGNORED, {})
    return found


def ignore(name: str, why: str, text: str | None = None) -> None:
    """Note that an entry can't be used, and use `text` in its place; None stands for the default."""
    ignored()[f"{name}={choice().get(name, '')}"] = why
    put(name, text)


def _write(wanted: Callable[[str], bool]) -> None:
    texts = _to_write(wanted)
    if texts != st.query_params.to_dict():
        st.query_params.from_dict(texts)
    st.session_state[_WRITTEN] = st.session_state[_FOUND] = texts


def query(wanted: Callable[[str], bool]) -> str:
    """Return the URL's query with the entries that are `wanted`, for a component that will write it."""
    texts = _to_write(wanted)
    st.session_state[_WRITTEN] = texts
    return urlencode(texts)


def _to_write(wanted: Callable[[str], bool]) -> Texts:
    return {name: text for name, text in sorted(choice().items()) if wanted(name)}


def seed_widget(name: str, value: Any) -> str:
    """Give the widget for entry `name` its value before it is drawn; return the widget's key."""
    key = widget_key(name)
    st.session_state[key] = value
    return key


def widget_key(name: str) -> str:
    """Return the key of the widget for entry `name`."""
    return f"widget.{name}"


def take_widget(name: str, default: Any) -> None:
    """Callback of the widget for entry `name`: note its new value, or nothing when it is the default."""
    value = st.session_state[widget_key(name)]
    take(name, None if value == default else text_of(value))


def take(name: str, text: str | None) -> None:
    """Set one entry in a callback, and in the address: only a fragment may run after it."""
    put(name, text)
    if _WANTED in st.session_state:
        _write(st.session_state[_WANTED])


def text_of(value: Any) -> str:
    """Return a widget's value as it stands in the URL."""
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in value)
    return words.exact(value)
