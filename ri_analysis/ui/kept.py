"""Widgets whose value is kept: it outlives another page, and a link restores it.

An entry named `PAGE.WHAT` stands in the address of that page alone (see `shell.run`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from ri_analysis.ui import state

_FEW = 8  # names that a sentence lists


def one_of(draw: Callable[..., Any], label: str, name: str, options: Sequence[str], default: str, **more: Any) -> str:
    """Draw a widget that picks one of `options`, kept as the entry `name`; return the pick.

    `draw` is `st.selectbox`, `st.segmented_control` and the like, on the page or on a part of it. What is kept but is
    no option any more counts as `default`.
    """
    wanted = state.choice().get(name, default)
    value = wanted if wanted in options else default
    if wanted not in options and state.by_link(name):
        state.ignore(name, f"{label.lower()}: {unknown(wanted, options)}")
    key = state.seed_widget(name, value)
    draw(label, options, key=key, on_change=state.take_widget, args=(name, default), **more)
    return value


def titled(draw: Callable[..., Any], label: str, name: str, titles: Mapping[str, str], **more: Any) -> str:
    """Draw `one_of` the keys of `titles`, shown by their titles; the first is the default."""
    options = list(titles)
    return one_of(draw, label, name, options, options[0], format_func=titles.__getitem__, **more)


def some_of(draw: Callable[..., Any], label: str, name: str, options: Sequence[str], **more: Any) -> list[str]:
    """Draw a widget that picks any of `options`, none by default, kept as the entry `name`; return the picks."""
    wanted = state.choice().get(name, "").split(",")
    value = [option for option in options if option in wanted]
    if state.by_link(name) and (strangers := [each for each in wanted if each and each not in options]):
        state.ignore(name, f"{label.lower()}: {unknown(strangers[0], options)}", ",".join(value) or None)
    draw(label, options, key=state.seed_widget(name, value), on_change=state.take_widget, args=(name, []), **more)
    return value


def first_of(draw: Callable[..., Any], label: str, name: str, options: Sequence[str]) -> str:
    """Draw a widget that picks one of `options` where the entry `name` may hold several, of which the first counts."""
    wanted = [each for each in state.choice().get(name, "").split(",") if each]
    value = next((each for each in wanted if each in options), options[0])
    if state.by_link(name) and (strangers := [each for each in wanted if each not in options]):
        left = ",".join(each for each in wanted if each in options)
        state.ignore(name, f"{label.lower()}: {unknown(strangers[0], options)}", left or None)
    draw(label, options, key=state.seed_widget(name, value), on_change=state.take_widget, args=(name, ""))
    return value


def unknown(name: str, known: Sequence[str]) -> str:
    """Say that there is no such name: with the near match, or with what there is where that is little."""
    near = get_close_matches(name, known, n=1)
    if near:
        return f"there is no {name!r}; did you mean {near[0]!r}?"
    return f"there is no {name!r}" + (f"; expected one of {', '.join(known)}" if 0 < len(known) <= _FEW else "")
