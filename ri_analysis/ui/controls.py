"""Widgets drawn from declarations: a method or hyperparameter added to the library appears here by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from ri_analysis.engine import Evaluator
from ri_analysis.figures import words
from ri_analysis.hyperparameters import Hyperparameter, Value
from ri_analysis.merging import METHODS
from ri_analysis.ui import limited, recipes, state

_FEW = 3  # choices shown as buttons rather than in a list


def recipe_controls(evaluator: Evaluator, *, numbers: bool = True) -> None:
    """Draw what every page shares: the method, its hyperparameters, and the RI set where there are several.

    `numbers` is False where the page itself draws the hyperparameters that are numbers.
    """
    st.subheader("Recipe", anchor=False)
    method = recipes.chosen_method()
    st.selectbox(
        "Method",
        list(METHODS),
        format_func=_title,
        key=state.seed_widget(recipes.METHOD, method.name),
        on_change=state.take_widget,
        args=(recipes.METHOD, None),
        help="How the experts' task vectors become one model.",
    )
    st.caption(method.summary)
    if method.statistic is not None:
        st.info(
            "Needs task data: it learns from the tasks' validation images, without labels. RI and the other methods "
            "see no task image. The first time takes a while.",
            icon=":material/photo_library:",
        )
    shown = [item for item in method.hyperparameters if numbers or track(item, item.default) is None]
    hyperparameter_controls(method.name, shown)
    _resolved_control(evaluator)


def _title(name: str) -> str:
    """Return what a method is called in the list, where those that need task data stand apart at the end."""
    method = METHODS[name]
    return method.title if method.statistic is None else f"{method.title} (needs task data)"


def hyperparameter_controls(owner: str, items: Sequence[Hyperparameter], *, sliders: bool = True) -> None:
    """Draw one widget for each declared hyperparameter of `owner`; numbers are typed in where there are no sliders."""
    for item in items:
        _hyperparameter(owner, item, sliders)


def _resolved_control(evaluator: Evaluator) -> None:
    """Let the reader pick what “after RI” means, where there is a choice."""
    names = [item.name for item in evaluator.suite.resolved]
    if len(names) > 1:
        st.selectbox(
            "After RI: expert set",
            names,
            key=state.seed_widget(recipes.RESOLVED, recipes.chosen_resolved(evaluator)),
            on_change=state.take_widget,
            args=(recipes.RESOLVED, evaluator.suite.default_resolved),
            help="Which RI-adapted experts stand for “after RI” on every page.",
        )


def _hyperparameter(owner: str, item: Hyperparameter, sliders: bool) -> None:
    value, name = recipes.chosen_value(owner, item), recipes.entry(owner, item)
    label = f"{words.symbol(item.name)}"
    note = f"{item.meaning}: {item.range_text}, {state.text_of(item.default)} by default."
    common: dict[str, Any] = {
        "key": state.seed_widget(name, value),
        "on_change": state.take_widget,
        "args": (name, item.default),
        "help": note[0].upper() + note[1:],
    }
    if item.choices:
        draw: Any = st.segmented_control if len(item.choices) <= _FEW else st.selectbox
        draw(label, item.choices, required=True, **common)
        return
    if isinstance(item.default, str):
        st.text_input(label, **common)
        return
    way = track(item, value) if sliders else None
    if way is None:
        then = common.pop("on_change")
        limited.number_input(st, label, item.low, item.high, then=then, **common)
    elif way.stops:
        st.select_slider(label, way.stops, format_func=state.text_of, **common)
    else:
        slider: Any = st.slider  # its overloads want the bounds' types spelled out
        slider(label, _typed(item, way.low), _typed(item, way.high), step=_typed(item, way.step), **common)


@dataclass(frozen=True)
class Track:
    """Where a slider's thumb can go: from `low` to `high` in steps, or from one of the `stops` to the next."""

    low: float
    high: float
    step: float
    stops: tuple[Value, ...] = ()


def track(item: Hyperparameter, value: Value) -> Track | None:
    """Return the track of a hyperparameter's slider, which holds `value`; None where it is no number in a range."""
    low, high = item.sweep or (item.low, item.high)
    if isinstance(item.default, str) or not (math.isfinite(low) and math.isfinite(high)):
        return None
    if item.log:
        stops = grid(item, low, high, value)
        return Track(float(stops[0]), float(stops[-1]), 1.0, tuple(stops))
    step = item.step or _round_step((high - low) / 50)
    step = max(1, round(step)) if isinstance(item.default, int) else step
    return Track(min(low, float(value)), max(high, float(value)), step)


def grid(item: Hyperparameter, low: float, high: float, value: Value) -> list[Value]:
    """Return the stops of a logarithmic slider: 1, 2, 5, 10 … in the range, with the default and the current value."""
    stops = {digit * 10.0**power for power in range(-12, 13) for digit in (1, 2, 5)}
    numbers = {float(f"{stop:.6g}") for stop in stops if low <= stop <= high}
    numbers |= {low, high, float(item.default), float(value)}
    return [int(number) if isinstance(item.default, int) else number for number in sorted(numbers)]


def _typed(item: Hyperparameter, number: float) -> float | int | None:
    """Return a bound in the type Streamlit wants beside the value; None for no bound."""
    if not math.isfinite(number):
        return None
    return int(number) if isinstance(item.default, int) else float(number)


def _round_step(step: float) -> float:
    """Return 1, 2 or 5 times a power of ten, near `step`."""
    power = 10.0 ** math.floor(math.log10(step)) if step > 0 else 0.01
    return float(f"{min((1, 2, 5, 10), key=lambda digit: abs(digit * power - step)) * power:.6g}")
