"""Numbers that are typed in: one out of range is replaced by the nearest, and that is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from ri_analysis.figures import words


def number_input(
    place: Any,
    label: str,
    low: float,
    high: float,
    *,
    key: str,
    then: Callable[..., None] | None = None,
    args: tuple[Any, ...] = (),
    **more: Any,
) -> float:
    """Draw a field for a number from `low` to `high`, as a part of `place`; return the number.

    Streamlit's own limits would leave what was typed standing and go on with the old value. `then` is the callback.
    """
    value: float = place.number_input(label, key=key, on_change=_take, args=(key, low, high, then, args), **more)
    if said := st.session_state.get(_said(key)):
        place.caption(said)
    return value


def _take(key: str, low: float, high: float, then: Callable[..., None] | None, args: tuple[Any, ...]) -> None:
    typed = st.session_state[key]
    used = type(typed)(min(max(typed, low), high))
    st.session_state[_said(key)] = None if used == typed else replaced(typed, low, high, used)
    st.session_state[key] = used
    if then is not None:
        then(*args)


def _said(key: str) -> str:
    return f"limited.{key}"


def replaced(typed: float, low: float, high: float, used: float) -> str:
    """Say that a number was out of range: what was typed, what is allowed, and what is used."""
    shown = [words.signed(float(each), ".10g") for each in (typed, low, high, used)]
    return f"You typed {shown[0]}. Allowed: {shown[1]} to {shown[2]}; {shown[3]} is used."
