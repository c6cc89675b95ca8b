"""Widgets drawn from declarations: a method or hyperparameter added to the library appears here by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from ri_analysis.engine import Evaluator
from ri_analysis.errors import InputError
from ri_analysis.hyperparameters import Hyperparameter, Value, listed
from ri_analysis.merging import METHODS
from ri_analysis.merging.method import AUXILIARY_IMAGES, TASK_DATA
from ri_analysis.ui import limited, recipes, state

_FEW = 3  # choices shown as buttons rather than in a list
_NEEDS = {
    TASK_DATA: "Needs task data: it learns from the tasks' validation images, without labels. RI and the methods "
    "without this note use no task images. The first run takes a while.",
    AUXILIARY_IMAGES: "Needs auxiliary images: it learns, without labels, only from the source that RI uses. The first "
    "run takes a while.",
}


def recipe_controls(evaluator: Evaluator, *, numbers: bool = True) -> None:
    """Draw what every page shares: the method, its hyperparameters, and the RI set where there are several.

    `numbers` is False where the page itself draws the hyperparameters that are numbers.
    """
    st.subheader("Recipe", anchor=False)
    method = recipes.chosen_method()
    st.selectbox(
        "Method",
        list(METHODS),
        format_func=lambda name: METHODS[name].called,
        key=state.seed_widget(recipes.METHOD, method.name),
        on_change=state.take_widget,
        args=(recipes.METHOD, None),
        help="How the experts' task vectors become one model.",
    )
    st.caption(method.summary)
    if method.needs:
        st.info(_NEEDS[method.needs], icon=":material/photo_library:")
    shown = [item for item in method.hyperparameters if numbers or track(item, item.default) is None]
    hyperparameter_controls(method.name, shown)
    _resolved_control(evaluator)


def hyperparameter_controls(owner: str, items: Sequence[Hyperparameter]) -> None:
    """Draw one widget for each declared hyperparameter of `owner`; each counts at once."""
    for item in items:
        value, name = recipes.chosen_value(owner, item), recipes.entry(owner, item)
        common = {"key": state.seed_widget(name, value), "on_change": state.take_widget, "args": (name, item.default)}
        _widget(item, track(item, value), common)


def settings_form(owner: str, items: Sequence[Hyperparameter]) -> None:
    """Draw the settings of `owner` as a form: what is typed counts once it is applied, all of it together."""
    with st.form(f"form.{owner}", border=False):
        columns = st.columns(2, gap="medium")
        for number, item in enumerate(items):
            with columns[number % 2]:
                _widget(item, None, {"key": _seed_once(owner, item)})
        if problem := st.session_state.pop(f"problem.{owner}", None):
            st.error(problem)
        st.form_submit_button("Apply", on_click=_apply, args=(owner, items))


def _seed_once(owner: str, item: Hyperparameter) -> str:
    """Seed a form's widget where the kept value is another than last time: what is typed meanwhile stays."""
    name, value = recipes.entry(owner, item), recipes.chosen_value(owner, item)
    key, applied = state.widget_key(name), f"applied.{name}"
    if key not in st.session_state or st.session_state.get(applied) != value:
        state.seed_widget(name, listed(value) if item.each is not None else value)
        st.session_state[applied] = value
    return key


def _apply(owner: str, items: Sequence[Hyperparameter]) -> None:
    """Callback of a form: keep all its values, or none where one is not allowed."""
    names = [recipes.entry(owner, item) for item in items]
    try:
        for item, name in zip(items, names, strict=True):
            item.validate(state.text_of(st.session_state[state.widget_key(name)]), item.label)
    except InputError as error:
        st.session_state[f"problem.{owner}"] = str(error)
        return
    for item, name in zip(items, names, strict=True):
        state.take_widget(name, listed(item.default) if item.each is not None else item.default)


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
            help="The RI-adapted expert set that “after RI” refers to, on every page.",
        )


def _widget(item: Hyperparameter, way: Track | None, common: dict[str, Any]) -> None:
    """Draw the widget of a hyperparameter: a slider where there is a `way` for it, else a field of its kind."""
    common = {"label": item.heading, "help": item.help, **common}
    if item.each is not None:
        _several(item, item.each, common)
    elif item.choices:
        few = len(item.choices) <= _FEW
        draw: Any = partial(st.segmented_control, required=True) if few else st.selectbox
        draw(options=list(item.choices), format_func=item.titled.__getitem__, **common)
    elif isinstance(item.default, str):
        st.text_input(**common)
    elif way is None:
        _number(item, common)
    elif way.stops:
        st.select_slider(options=way.stops, format_func=state.text_of, **common)
    else:
        ends = {"min_value": _typed(item, way.low), "max_value": _typed(item, way.high)}
        slider: Any = st.slider  # its overloads want the bounds' types spelled out
        slider(step=_typed(item, way.step), **ends, **common)


def _several(item: Hyperparameter, each: Hyperparameter, common: dict[str, Any]) -> None:
    """Draw a choice of several: of the named ones, or of numbers, to which others can be typed in."""
    if each.choices:
        st.multiselect(options=list(each.choices), format_func=each.titled.__getitem__, **common)
        return
    known = dict.fromkeys([*listed(item.default), *st.session_state[common["key"]]])
    st.multiselect(options=list(known), accept_new_options=True, placeholder="Type a number", **common)


def _number(item: Hyperparameter, common: dict[str, Any]) -> None:
    """Draw a field for a number; a form says itself, once it is applied, what is not allowed."""
    form: dict[str, Any] = {} if isinstance(item.default, int) else {"step": item.step or 0.01, "format": "%g"}
    if then := common.pop("on_change", None):
        limited.number_input(st, common.pop("label"), item.low, item.high, then=then, **form, **common)
    else:
        st.number_input(**form, **common)


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
