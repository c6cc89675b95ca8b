"""Widgets whose value is kept: it outlives another page, and a link restores it.

An entry named `PAGE.WHAT` stands in the address of that page alone (see `shell.run`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ri_analysis.ui import state


def one_of(draw: Callable[..., Any], label: str, name: str, options: Sequence[str], default: str, **more: Any) -> str:
    """Draw a widget that picks one of `options`, kept as the entry `name`; return the pick.

    `draw` is `st.selectbox`, `st.segmented_control` and the like, on the page or on a part of it. What is kept but is
    no option any more counts as `default`.
    """
    wanted = state.choice().get(name, default)
    value = wanted if wanted in options else default
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
    draw(label, options, key=state.seed_widget(name, value), on_change=state.take_widget, args=(name, []), **more)
    return value
