"""The means as numbers."""

from __future__ import annotations

import streamlit as st

from ri_analysis.engine import Comparison, Evaluation
from ri_analysis.figures import words

_HELP = {
    "accuracy": "Mean over tasks of the merged model's accuracy. Intervals: 95%, bootstrap over each task's images; "
    "the change is paired image by image.",
    "normalised": "Mean over tasks of the merged model's accuracy divided by that of the task's own expert.",
    "interference": "Mean over tasks of KL(expert ‖ merged) on the task's test images, in nats; lower is better. "
    "Intervals: 95%, bootstrap; the change is paired image by image.",
}


def numbers(comparison: Comparison) -> None:
    """Show mean accuracy, mean normalised accuracy and mean interference, with intervals and the paired change."""
    draw = (_accuracy, _normalised, _interference)
    for column, part in zip(st.columns(len(draw), gap="small"), draw, strict=True):
        with column.container(border=True, height="stretch"):
            part(comparison)


def _accuracy(comparison: Comparison) -> None:
    change = comparison.accuracy_change
    delta = None if change is None else _delta(words.points(change.value))
    shown = words.percent(comparison.last.mean_accuracy[0])
    st.metric("Mean accuracy", shown, delta, delta_description=_against(comparison), help=_HELP["accuracy"])
    lines = [] if change is None else [f"change {words.points_range(*change.interval)}"]
    for name, evaluation in _sides(comparison):
        value, interval = evaluation.mean_accuracy
        lines.append(f"{name} {words.percent(value)} ({words.percent_range(*interval)})")
    st.caption("  \n".join(lines))


def _normalised(comparison: Comparison) -> None:
    before, after = comparison.before.mean_normalised_accuracy, comparison.after
    delta = None if after is None else _delta(words.points(after.mean_normalised_accuracy - before))
    shown = words.percent(comparison.last.mean_normalised_accuracy)
    label = "Normalised accuracy"
    st.metric(label, shown, delta, delta_description=_against(comparison), help=_HELP["normalised"])
    zero_shot, expert = comparison.before.mean_zero_shot_accuracy[0], comparison.before.mean_expert_accuracy[0]
    st.caption(
        f"100% is every expert on its own task  \nexperts' mean accuracy {words.percent(expert)}  \n"
        f"zero-shot mean accuracy {words.percent(zero_shot)}"
    )


def _interference(comparison: Comparison) -> None:
    change = comparison.interference_change
    delta = None if change is None else _delta(words.nats_change(change.value))
    shown = words.nats(comparison.last.mean_interference[0])
    st.metric(
        "Mean interference ξ",
        shown,
        delta,
        delta_color="inverse",
        delta_description=_against(comparison),
        help=_HELP["interference"],
    )
    lines = [] if change is None else [f"change {words.nats_change_range(*change.interval)}"]
    for name, evaluation in _sides(comparison):
        value, interval = evaluation.mean_interference
        lines.append(f"{name} {words.nats(value).removesuffix(' nats')} ({words.nats_range(*interval)})")
    st.caption("  \n".join(lines))


def _delta(text: str) -> str:
    """Return a change as st.metric wants it: it knows a fall by the hyphen, not by the minus sign."""
    return text.replace("−", "-")


def _against(comparison: Comparison) -> str | None:
    return None if comparison.after is None else "by RI"


def _sides(comparison: Comparison) -> list[tuple[str, Evaluation]]:
    return [(f"{stage} RI", evaluation) for stage, evaluation in comparison.stages.items()]
