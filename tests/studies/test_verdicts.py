"""What a verdict may say: a claim is made only where the interval allows it."""

from __future__ import annotations

import pandas as pd
import pytest

from ri_analysis.engine.evaluation import Change
from ri_analysis.intervals import Interval
from ri_analysis.studies.verdicts import above, below, beside_the_paper, every, greater, in_points, mean_over, within


def change(low: float, high: float) -> Change:
    return Change((low + high) / 2, Interval(low, high))


@pytest.mark.parametrize(
    ("low", "high", "answers"),
    [(0.01, 0.03, (True, False)), (-0.03, -0.01, (False, True)), (-0.01, 0.02, (None, None))],
)
def test_an_interval_around_the_bound_decides_nothing(
    low: float, high: float, answers: tuple[bool | None, bool | None]
) -> None:
    assert (above(change(low, high)), below(change(low, high))) == answers


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [(-0.005, 0.01, True), (0.011, 0.02, False), (-0.03, -0.02, False), (-0.005, 0.02, None), (-0.02, 0.02, None)],
)
def test_within_a_margin(low: float, high: float, answer: bool | None) -> None:
    assert within(change(low, high), 0.01) is answer


def test_the_greater_of_two() -> None:
    few, many = change(0.0, 0.01), change(0.02, 0.03)
    assert greater(many, few) is True
    assert greater(few, many) is False
    assert greater(change(0.005, 0.025), few) is None


def test_all_of_several() -> None:
    assert every([True, True]) is True
    assert every([True, None]) is None
    assert every([None, False]) is False


def test_the_interval_of_a_mean_is_never_too_narrow() -> None:
    rows = pd.DataFrame({"gain": [0.01, 0.03], "gain_low": [0.0, 0.01], "gain_high": [0.02, 0.05]})
    found = mean_over(rows, "gain")
    assert found.value == pytest.approx(0.02)
    assert found.interval == pytest.approx((0.005, 0.035))
    assert in_points(found) == "+2.0 points (+0.5 to +3.5)"


def test_the_paper_is_answered_in_three_ways() -> None:
    text = beside_the_paper({"it rains": True, "it snows": None, "it hails": False, "it thaws": None})
    assert text == (
        "As in the paper: it rains. Unlike in the paper, this does not hold here: it hails. "
        "These images do not decide whether it snows; it thaws."
    )
    assert beside_the_paper({}) == ""
