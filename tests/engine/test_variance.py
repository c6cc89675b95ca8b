"""Shares of variance, by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from ri_analysis.engine.variance import explained


def grid() -> pd.DataFrame:
    """2 × 2 points, each twice: `a` moves the value by 4, `b` by 2, and the two of a pair differ by 1."""
    rows = [(a, b, 4 * a + 2 * b + wiggle) for a in (0, 1) for b in (0, 1) for wiggle in (-0.5, 0.5)]
    return pd.DataFrame(rows, columns=["a", "b", "value"])


def test_shares_are_those_of_the_analysis_of_variance_by_hand() -> None:
    found = explained(grid(), ["b", "a"], "value").set_index("setting")
    # Sums of squares: a 8·2² = 32, b 8·1² = 8, the rest 8·0.5² = 2; all 42. ε² = (own − (within / 6)) / 42.
    assert found.loc["a", "share"] == pytest.approx((32 - 10 / 6) / 42)
    assert found.loc["b", "share"] == pytest.approx((8 - 34 / 6) / 42)
    assert list(found.index) == ["a", "b"]  # the most first
    assert list(found["levels"]) == [2, 2]
    assert list(found["n"]) == [8, 8]


def test_too_few_points_and_settings_that_do_not_vary_have_no_share() -> None:
    few = explained(grid().iloc[:6], ["a"], "value")
    assert math.isnan(few["share"][0])
    assert few["n"][0] == 6
    one_each = pd.DataFrame({"a": [f"level {n}" for n in range(8)], "value": range(8)})
    assert math.isnan(explained(one_each, ["a"], "value")["share"][0])  # a point for each level
    assert explained(grid().assign(c="same"), ["c"], "value").empty


def test_many_values_are_grouped_and_what_explains_nothing_is_zero() -> None:
    table = pd.DataFrame({"x": range(60), "value": [float(n) for n in range(60)]})
    found = explained(table, ["x"], "value")
    assert found["levels"][0] == 6
    assert found["share"][0] > 0.95
    noise = pd.DataFrame({"x": [0, 1] * 10, "value": [0.0, 0.0, 1.0, 1.0] * 5})
    assert explained(noise, ["x"], "value")["share"][0] == 0.0
