from __future__ import annotations

import time

import pytest

from ri_analysis.engine import Evaluator
from ri_analysis.figures import look
from ri_analysis.intervals import Interval
from ri_analysis.ui.recipes import Pair
from ri_analysis.views.live import preview as module
from ri_analysis.views.live.payload import by_ri
from ri_analysis.views.live.preview import Preview


def pair(evaluator: Evaluator, method: str = "task-arithmetic") -> Pair:
    recipe = evaluator.recipe(method)
    return Pair(recipe, recipe.with_experts("mild"))


def until_ready(preview: Preview, wanted: Pair) -> None:
    for _ in range(600):
        if preview.ready(wanted):
            return
        time.sleep(0.05)
    raise AssertionError("not ready after half a minute")


def test_the_first_look_finds_everything_at_hand(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch):
    preview, wanted = Preview(evaluator), pair(evaluator)
    assert not preview.ready(wanted)
    until_ready(preview, wanted)
    assert preview.probe is not None
    monkeypatch.setattr(module.LiveProbe, "_term", None)  # would be called to make what a look adds up
    monkeypatch.setattr("ri_analysis.live.probe.Sample.of", None)
    assert len(preview.probe.look(wanted.all)) == 2


def test_another_method_is_prepared_too(evaluator: Evaluator):
    preview = Preview(evaluator)
    until_ready(preview, pair(evaluator))
    known = preview.probe
    assert not preview.ready(pair(evaluator, "ties"))
    until_ready(preview, pair(evaluator, "ties"))
    assert preview.probe is known


def test_it_stops_when_nobody_asks_any_more_and_goes_on_when_somebody_does(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
):
    preview, wanted = Preview(evaluator), pair(evaluator)
    monkeypatch.setattr(module, "_LEFT", -1.0)
    preview.ready(wanted)
    time.sleep(0.3)
    assert preview.probe is None
    monkeypatch.undo()
    until_ready(preview, wanted)


def test_a_change_is_coloured_by_the_better_side_where_its_interval_leaves_out_zero():
    assert by_ri("+1.0 points", "+0.5 to +1.5", Interval(0.5, 1.5)) == {
        "text": "by RI +1.0 points (+0.5 to +1.5)",
        "colour": look.AFTER.colour,
    }
    assert by_ri("", "", Interval(-1.5, -0.5))["colour"] == look.BEFORE.colour
    unclear = by_ri("+1.0 points", "−0.5 to +2.5", Interval(-0.5, 2.5))
    assert unclear == {"text": "by RI +1.0 points (−0.5 to +2.5): no clear change", "colour": ""}
