"""Widgets drawn from declarations: a method or hyperparameter added to the library appears here by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import streamlit as st

from ri_analysis.engine import Evaluator
from ri_analysis.figures import words
from ri_analysis.hyperparameters import Hyperparameter, Value
from ri_analysis.merging import METHODS
from ri_analysis.ui import recipes, state

_FEW = 3  # choices shown as buttons rather than in a list


def recipe_controls(evaluator: Evaluator) -> None:
    """Draw what every page shares: the method, its hyperparameters, and the RI set where there are several."""
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
    hyperparameter_controls(method.name, method.hyperparameters)
    _resolved_control(evaluator)


def _title(name: str) -> str:
    """Return what a method is called in the list, where those that need task data stand apart at the end."""
    method = METHODS[name]
    return method.title if method.statistic is None else f"{method.title} (needs task data)"


def hyperparameter_controls(owner: str, items: Sequence[Hyperparameter]) -> None:
    """Draw one widget for each declared hyperparameter of `owner`."""
    for item in items:
        _hyperparameter(owner, item)


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


def _hyperparameter(owner: str, item: Hyperparameter) -> None:
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
    low, high = item.sweep or (item.low, item.high)
    if not (math.isfinite(low) and math.isfinite(high)):
        st.number_input(label, min_value=_typed(item, item.low), max_value=_typed(item, item.high), **common)
    elif item.log:
        st.select_slider(label, grid(item, low, high, value), format_func=state.text_of, **common)
    else:
        number, step = float(value), item.step or _round_step((high - low) / 50)
        step = max(1, round(step)) if isinstance(item.default, int) else step
        bounds = _typed(item, min(low, number)), _typed(item, max(high, number))
        slider: Any = st.slider  # its overloads want the bounds' types spelled out
        slider(label, *bounds, step=_typed(item, step), **common)


def grid(item: Hyperparameter, low: float, high: float, value: Value) -> list[Value]:
    """Return the stops of a logarithmic slider: 1, 2, 5, 10 … in the range, with the default and the current value."""
    stops = {digit * 10.0**power for power in range(-12, 13) for digit in (1, 2, 5)}
    numbers = {float(f"{stop:.6g}") for stop in stops if low <= stop <= high}
    numbers |= {low, high, float(item.default), float(value)}
    return [int(number) if isinstance(item.default, int) else number for number in sorted(numbers)]


def coefficient_controls(evaluator: Evaluator) -> None:
    """Draw, for each task, a switch that takes its expert into the merge and a slider for its coefficient."""
    method, chosen = recipes.chosen_method(), recipes.chosen_tasks(evaluator)
    if not method.weighted:
        st.info(
            f"{method.title} takes no coefficient per task: it does not add the task vectors up.",
            icon=":material/info:",
        )
    for task in recipes.possible_tasks(evaluator):
        switch, slider = st.columns([1, 5], gap="small", vertical_alignment="center")
        on = task in chosen
        switch.checkbox(
            f"merge {task}",
            key=state.seed_widget(f"on.{task}", on),
            label_visibility="collapsed",
            on_change=_toggle,
            args=(evaluator, task),
        )
        value, (low, high) = recipes.chosen_coefficient(task), recipes.COEFFICIENT_RANGE
        name = recipes.COEFFICIENT + task
        slider.slider(
            task,
            min(low, value),
            max(high, value),
            step=0.05,
            key=state.seed_widget(name, value if method.weighted else 1.0),
            on_change=state.take_widget,
            args=(name, 1.0),
            disabled=not (method.weighted and on),
        )


def _toggle(evaluator: Evaluator, task: str) -> None:
    """Callback of a task's switch."""
    on = set(recipes.chosen_tasks(evaluator))
    on = on | {task} if st.session_state[state.widget_key(f"on.{task}")] else on - {task}
    off = [name for name in recipes.possible_tasks(evaluator) if name not in on]
    state.put(recipes.OFF, ",".join(off) or None)


def reset() -> None:
    """Callback: all coefficients 1, all tasks on, the method's hyperparameters at their defaults."""
    state.clear(recipes.COEFFICIENT, recipes.OFF, f"{recipes.chosen_method().name}.")


def _typed(item: Hyperparameter, number: float) -> float | int | None:
    """Return a bound in the type Streamlit wants beside the value; None for no bound."""
    if not math.isfinite(number):
        return None
    return int(number) if isinstance(item.default, int) else float(number)


def _round_step(step: float) -> float:
    """Return 1, 2 or 5 times a power of ten, near `step`."""
    power = 10.0 ** math.floor(math.log10(step)) if step > 0 else 0.01
    return float(f"{min((1, 2, 5, 10), key=lambda digit: abs(digit * power - step)) * power:.6g}")
