"""From what is known to what the component draws."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from plotly.colors import sample_colorscale

from ri_analysis.engine import Evaluation, Evaluator
from ri_analysis.engine.comparison import Comparison
from ri_analysis.figures import look, words
from ri_analysis.intervals import Interval
from ri_analysis.live.estimate import Estimate
from ri_analysis.suite.spec import MEAN
from ri_analysis.ui import frame, recipes
from ri_analysis.ui.controls import track
from ri_analysis.views.live.acts import SLOTS, History, pinned
from ri_analysis.views.live.session import View

_MEASURES = ("accuracy", "interference")
_SHADES = 32  # of the pad
Bar = list[float]  # value, low, high


def controls(evaluator: Evaluator) -> list[dict[str, Any]]:
    """Return the sliders: λ and the method's other numbers, then one for each task's coefficient."""
    method, found = recipes.chosen_method(), []
    for item in method.hyperparameters:
        value = recipes.chosen_value(method.name, item)
        way = track(item, value)
        if way is not None:
            found.append(
                {
                    "entry": recipes.entry(method.name, item),
                    "label": item.heading,
                    "help": item.help,
                    "value": value,
                    "low": way.low,
                    "high": way.high,
                    "step": way.step,
                    "stops": list(way.stops),
                    "least": item.low,
                    "most": item.high,
                }
            )
    if method.weighted:
        found += [_coefficient(task) for task in recipes.possible_tasks(evaluator)]
    return found


def _coefficient(task: str) -> dict[str, Any]:
    value, (low, high) = recipes.chosen_coefficient(task), recipes.COEFFICIENT_RANGE
    return {
        "entry": recipes.COEFFICIENT + task,
        "task": task,
        "label": task,
        "help": f"Multiplies {task}'s task vector: 0 removes its effect, a negative value pushes the task out.",
        "value": value,
        "low": min(low, value),
        "high": max(high, value),
        "step": 0.05,
        "stops": [],
        "least": -10,
        "most": 10,
    }


def pad(evaluator: Evaluator) -> dict[str, Any] | None:
    """Return from where to where a pad of two coefficients goes, and its shades; None where there are no two."""
    if not recipes.chosen_method().weighted or len(recipes.possible_tasks(evaluator)) < 2:
        return None
    low, high = recipes.COEFFICIENT_RANGE
    return {"low": low, "high": high, "colours": _shades()}


@lru_cache(maxsize=1)
def _shades() -> list[str]:
    return list(map(str, sample_colorscale(look.SEQUENTIAL, _SHADES)))


def tasks(evaluator: Evaluator) -> list[dict[str, Any]]:
    """Return one row for each task: whether it is merged, muted, soloed, and its colour."""
    colours, method = look.task_colours(evaluator.suite.tasks, dark=frame.dark()), recipes.chosen_method()
    on, solo, muted = (set(recipes.chosen_tasks(evaluator)), recipes.named("solo"), recipes.named("mute"))
    return [
        {
            "name": task,
            "colour": colours[task],
            "on": task in on,
            "solo": method.weighted and task in solo,
            "muted": method.weighted and task in muted,
            "active": not method.weighted or recipes.active(task),
        }
        for task in recipes.possible_tasks(evaluator)
    ]


def rows(view: View, last: Comparison | None) -> dict[str, Any]:
    """Return the bars: for each task and the mean, one [value, low, high] a model for each measure.

    `last` is what was measured last: its experts and its zero-shot accuracies are marked beside the bars.
    """
    found: dict[str, Any] = {}
    shown: Sequence[Evaluation | Estimate] | None = view.estimates if view.exact is None else view.exact.all
    if shown is None:
        return found
    for each in shown:
        for name, row in each.table.set_index("task").iterrows():
            entry = found.setdefault(str(name), {measure: [] for measure in _MEASURES})
            for measure in _MEASURES:
                entry[measure].append(_bar(row[measure], row[f"{measure}_low"], row[f"{measure}_high"]))
        entry = found.setdefault(MEAN, {measure: [] for measure in _MEASURES})
        for measure, (value, (low, high)) in zip(_MEASURES, (each.mean_accuracy, each.mean_interference), strict=True):
            entry[measure].append(_bar(value, low, high))
    if last is not None:
        marks = last.before.table.set_index("task")
        names = [name for name in found if name in marks.index]
        for name in names:
            found[name]["marks"] = [marks.zero_shot_accuracy[name], marks.expert_accuracy[name]]
        if names:
            chosen = marks.loc[names]
            found[MEAN]["marks"] = [chosen.zero_shot_accuracy.mean(), chosen.expert_accuracy.mean()]
    return found


def _bar(value: float, low: float, high: float) -> Bar:
    return [round(float(each), 5) for each in (value, low, high)]


def state_of(view: View, ready: bool = True) -> dict[str, Any]:
    """Return what kind of values is shown, and a sentence that says so; `ready` is whether a look is prepared."""
    preparing = "" if ready else " Getting the live preview ready…"
    if view.exact is not None:
        n = words.count(view.exact.n, "test image")
        return {"kind": "exact", "says": f"Exact: all {n}.{preparing}", "change": _change(view.exact)}
    if view.problem is not None:
        return {"kind": "problem", "says": view.problem}
    going = "" if view.pace is None else f" {words.how_far('Measuring all images', view.pace)}"
    if view.preparing:
        return {"kind": "waiting", "says": f"{preparing.strip()}{going}"}
    if view.estimates is None:
        return {"kind": "waiting", "says": f"This method is too slow for a live preview.{going}"}
    if view.surrogate is not None:
        return {"kind": "surrogate", "says": f"{view.surrogate}{going}"}
    n = words.count(view.estimates[0].n, "image")
    rough = " The effect of this slider is not smooth, so each position is estimated separately." if view.rough else ""
    return {"kind": "estimate", "says": f"Estimate from {n}, with its 95% interval.{rough}{going}"}


def _change(comparison: Comparison) -> list[dict[str, str]]:
    """Return what RI changed, in words, with the colour of the side that is better; none where that is not clear."""
    accuracy, nats = comparison.accuracy_change, comparison.interference_change
    if accuracy is None or nats is None:
        return []
    more, less = accuracy.interval, nats.interval
    return [
        by_ri(words.points(accuracy.value), words.points_range(*more), more),
        by_ri(words.nats_change(nats.value), words.nats_change_range(*less), Interval(-less.high, -less.low)),
    ]


def by_ri(change: str, span: str, gain: Interval) -> dict[str, str]:
    """Say what RI changed, and with which colour: that of the better side, "" where the interval holds zero."""
    if gain.low <= 0 <= gain.high:
        return {"text": f"by RI {change} ({span}): no clear change", "colour": ""}
    return {"text": f"by RI {change} ({span})", "colour": (look.AFTER if gain.low > 0 else look.BEFORE).colour}


def models(evaluator: Evaluator) -> list[dict[str, str]]:
    """Return the name and colour of each model that is shown."""
    shown = (look.BEFORE,) if recipes.chosen_resolved(evaluator) is None else (look.BEFORE, look.AFTER)
    return [{"name": role.name, "colour": role.colour} for role in shown]


def pins() -> list[dict[str, Any]]:
    """Return the places for pinned recipes, and which are taken."""
    return [{"slot": slot, "taken": pinned(slot) is not None} for slot in SLOTS]


def undoable(history: History) -> list[bool]:
    """Return whether there is something to undo, and to redo."""
    return [history.place > 0, history.place < len(history.steps) - 1]
