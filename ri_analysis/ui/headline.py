"""The means as numbers."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ri_analysis.engine import Change, Comparison
from ri_analysis.figures import words
from ri_analysis.sides import STAGES
from ri_analysis.ui import terms

# On a phone a number and its intervals stand side by side.
STYLE = """
<style>
@media (max-width: 640px) {
  [class*="st-key-numbers"] [data-testid="stMetricValue"] { font-size: 1.4rem; }
  [class*="st-key-numbers"] [data-testid="stCaptionContainer"] p { font-size: .8rem; }
}
</style>
"""

_ACCURACY = "Mean over the tasks of the merged model's accuracy, each task counting the same."
_INTERFERENCE = "Mean over the tasks, each counting the same; lower is better."
_CHANGE = "The change is paired: each image is compared with itself. It is coloured where its interval excludes 0."


def numbers(comparison: Comparison) -> None:
    """Show mean accuracy, interference and normalised accuracy, with intervals and the paired change."""
    sides = comparison.all
    place = st.container(key=f"numbers.{comparison.n}")  # a first look and all images may follow in one run
    first, second, third = place.columns(3, gap="small")
    with first:
        _number(
            "Mean accuracy",
            [words.percent(each.mean_accuracy[0]) for each in sides],
            [words.percent_range(*each.mean_accuracy[1]) for each in sides],
            _points(comparison.accuracy_change),
            f"{_ACCURACY} {_CHANGE}  \n{terms.meaning('points', 'interval')}",
        )
    with second:
        _number(
            "Mean interference ξ",
            [words.nats(each.mean_interference[0]) for each in sides],
            [words.nats_range(*each.mean_interference[1]) for each in sides],
            _nats(comparison.interference_change),
            f"{_INTERFERENCE} {_CHANGE}  \n{terms.meaning('interference', 'nats')}",
        )
    with third:
        _number(
            "Normalised accuracy",
            [words.percent(each.mean_normalised_accuracy) for each in sides],
            [words.percent_range(*each.normalised_accuracy_interval) for each in sides],
            _points(comparison.normalised_accuracy_change),
            f"{terms.meaning('normalised accuracy')} Shown: the mean over the tasks; its interval treats the experts' "
            f"accuracies as known.",
        )


def delta(change: Change | None, said: str, *, less_is_better: bool = False) -> dict[str, Any]:
    """Return how st.metric shows a change: coloured where its interval excludes 0, else grey and in words."""
    if change is None:
        return {}
    if not change.clear:
        return {"delta": words.NO_CLEAR_CHANGE, "delta_color": "off", "delta_arrow": "off"}
    # The metric would know a fall by a hyphen; with the minus sign every change counts as a rise.
    better = (change.value < 0) == less_is_better
    arrow = "up" if change.value > 0 else "down"
    return {
        "delta": said,
        "delta_description": "by RI",
        "delta_color": "normal" if better else "inverse",
        "delta_arrow": arrow,
    }


_Change = tuple[dict[str, Any], str]  # how the metric shows it, and the line below with its interval


def _points(change: Change | None) -> _Change:
    if change is None:
        return {}, ""
    said = words.points(change.value)
    line = _line(change, said, words.points_range(*change.interval))
    return delta(change, said), line


def _nats(change: Change | None) -> _Change:
    if change is None:
        return {}, ""
    said = words.nats_change(change.value)
    line = _line(change, said, words.nats_change_range(*change.interval))
    return delta(change, said, less_is_better=True), line


def _line(change: Change, said: str, ends: str) -> str:
    value = said.removesuffix(" points").removesuffix(" nats")
    return f"change {ends}" if change.clear else f"change {value} ({ends})"


def _number(title: str, values: list[str], intervals: list[str], change: _Change, help: str) -> None:
    """Show the last of a measure's values, its change, and each value with its interval."""
    shown, line = change
    with st.container(border=True, height="stretch", horizontal=True, gap="xsmall", vertical_alignment="top"):
        st.metric(title, values[-1], help=help, width=150, **shown)
        lines = [f"95% interval {intervals[0]}"]
        if len(values) > 1:
            sides = zip(STAGES, values, intervals, strict=True)
            lines = [
                *filter(None, [line]),
                *(f"{stage} {value.removesuffix(' nats')} ({ends})" for stage, value, ends in sides),
            ]
        st.caption("  \n".join(lines), width=156)
