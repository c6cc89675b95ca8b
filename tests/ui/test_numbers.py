from __future__ import annotations

from ri_analysis.engine import Change
from ri_analysis.intervals import Interval
from ri_analysis.ui.headline import delta


def test_a_clear_change_is_coloured_by_whether_it_is_better():
    rise, fall = Change(0.1, Interval(0.05, 0.15)), Change(-0.1, Interval(-0.15, -0.05))
    shown = [
        delta(rise, "+"),
        delta(fall, "−"),
        delta(rise, "+", less_is_better=True),
        delta(fall, "−", less_is_better=True),
    ]
    # st.metric takes a text without a hyphen for a rise: "normal" is green then, "inverse" red.
    assert [each["delta_color"] for each in shown] == ["normal", "inverse", "inverse", "normal"]
    assert [each["delta_arrow"] for each in shown] == ["up", "down", "up", "down"]


def test_a_change_whose_interval_includes_zero_is_grey_and_said_to_be_unclear():
    for less_is_better in (False, True):
        shown = delta(Change(0.1, Interval(0.0, 0.2)), "+0.1", less_is_better=less_is_better)
        assert shown == {"delta": "no clear change", "delta_color": "off", "delta_arrow": "off"}


def test_without_an_ri_set_there_is_no_change():
    assert delta(None, "") == {}
