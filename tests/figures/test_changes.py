from __future__ import annotations

import pandas as pd

from ri_analysis import figures
from ri_analysis.figures import look
from ri_analysis.figures.drift import drift_by_task
from ri_analysis.sides import Sides

CHANGE = pd.DataFrame(
    {
        "task": ["Reds", "Blues"],
        "change": [-0.25, 0.1],
        "change_low": [-0.4, -0.1],
        "change_high": [-0.1, 0.3],
        "n": [24, 24],
    }
)


def evaluated() -> pd.DataFrame:
    table = pd.DataFrame({"task": ["Reds", "Blues"], "n": 24, "normalised_accuracy": 0.8})
    for name in ("accuracy", "expert_accuracy", "zero_shot_accuracy", "interference"):
        table[name], table[f"{name}_low"], table[f"{name}_high"] = 0.5, 0.4, 0.6
    return table


def test_below_a_tasks_name_stands_its_change_or_that_none_is_clear():
    sides = Sides(evaluated(), evaluated())
    muted, dark = look.LIGHT.muted, look.LIGHT.text
    accuracy = figures.accuracy_by_task(sides, CHANGE)
    assert list(accuracy.layout.yaxis.ticktext) == [
        f'Reds<br><span style="color:{dark};font-size:11px">−25.0 points</span>',
        f'Blues<br><span style="color:{muted};font-size:11px">no clear change</span>',
    ]
    (after,) = (trace for trace in accuracy.data if trace.name == look.AFTER.name)
    assert "no clear change: change +10.0 points (95% interval −10.0 points to +30.0 points)" in after.hovertext[1]
    interference = figures.interference_by_task(sides, CHANGE)
    assert "−0.250 nats" in interference.layout.yaxis.ticktext[0]
    assert "no clear change" in interference.layout.yaxis.ticktext[1]
    assert figures.accuracy_by_task(Sides(evaluated())).layout.yaxis.ticktext == ("Reds", "Blues")


def test_a_change_of_drift_is_open_and_grey_where_its_interval_includes_zero():
    drift = pd.DataFrame({"task": ["Reds", "Blues"], "drift": 0.5, "drift_low": 0.4, "drift_high": 0.6, "n": 24})
    clear, unclear = drift_by_task(Sides(drift, drift), CHANGE, "nats").data[-2:]
    assert (list(clear.y), clear.marker.color, clear.marker.symbol) == (["Reds"], look.LIGHT.text, "diamond")
    assert (list(unclear.y), unclear.marker.color, unclear.marker.symbol) == (
        *(["Blues"], look.LIGHT.muted, "diamond-open"),
    )
    assert "no clear change" in unclear.hovertext[0]
    assert "no clear change" not in clear.hovertext[0]


def test_a_pinned_recipes_difference_has_its_colour_only_where_it_is_clear():
    table = pd.DataFrame(
        {
            "recipe": ["now", "A", "B"],
            "stage": "before",
            "n": 24,
            "accuracy": 0.5,
            "accuracy_low": 0.4,
            "accuracy_high": 0.6,
            "accuracy_change": [float("nan"), 0.2, 0.1],
            "accuracy_change_low": [float("nan"), 0.1, -0.1],
            "accuracy_change_high": [float("nan"), 0.3, 0.3],
        }
    )
    differences = figures.pinned(table).data[1]
    assert list(differences.marker.color)[1:] == [look.BEFORE.colour, look.LIGHT.band]
    assert "no clear difference: +10.0 points" in differences.hovertext[2]
    assert "no clear" not in differences.hovertext[1]
