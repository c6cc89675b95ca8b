"""Places of a surface that are worth measuring: on a surface that is known, and on the tiny suite."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ri_analysis.engine import Evaluator
from ri_analysis.figures import surfaces
from ri_analysis.sides import Sides
from ri_analysis.studies import sensitivity
from ri_analysis.studies.acquisition import BATCH, estimate, next_places
from ri_analysis.studies.conducting.conduct import Plan, conduct, plan
from ri_analysis.studies.surface import Axis, coarse

X = Axis("scale", tuple(np.geomspace(0.05, 2.0, 15).round(5).tolist()), 0.3, log=True)
Y = Axis("density", tuple(np.linspace(0.0, 1.0, 15).round(5).tolist()), 0.2, log=False)
GRID = [(x, y) for y in Y.values for x in X.values]


def hill(place: tuple[float, float]) -> float:
    """A smooth surface: its top, 70 %, is at (0.4, 0.6)."""
    return 0.7 - 0.05 * np.log(place[0] / 0.4) ** 2 - 0.3 * (place[1] - 0.6) ** 2


def first() -> dict[tuple[float, float], float]:
    return {(X.values[i], Y.values[j]): hill((X.values[i], Y.values[j])) for j in coarse(15, 4) for i in coarse(15, 4)}


def test_a_smooth_surface_is_known_from_a_fraction_of_its_places():
    known = first()
    while places := next_places((X, Y), [known], GRID):
        assert len(places) <= BATCH
        assert not set(places) & set(known)
        known |= {place: hill(place) for place in places}
    assert len(known) < 0.5 * len(GRID)
    rest = [place for place in GRID if place not in known]
    guesses, _ = estimate((X, Y), known, rest)
    assert guesses == pytest.approx([hill(place) for place in rest], abs=0.005)
    level = max(map(hill, GRID)) - 0.01
    sure = [abs(hill(place) - level) > 0.002 for place in rest]
    told = [(guess >= level) == (hill(place) >= level) for guess, place in zip(guesses, rest, strict=True)]
    assert all(np.array(told)[sure])


def test_what_is_asked_for_is_unclear_not_what_is_far_from_the_top():
    places = next_places((X, Y), [first()], GRID)
    heights = [hill(place) for place in places[:3]]
    assert min(heights) > np.median([hill(place) for place in GRID])


def test_a_surface_that_tells_nothing_is_measured_whole():
    known = dict.fromkeys(first(), 0.5)
    assert next_places((X, Y), [known], GRID) == [place for place in GRID if place not in known]
    assert next_places((X, Y), [dict.fromkeys(GRID, 0.5)], GRID) == []


@pytest.fixture
def found(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.setattr(sensitivity, "OWN_LEVELS", 9)
    asked = iter([[(0.05, 0.2875)], []])  # the tiny suite's experts are random: nothing of them can be foretold
    monkeypatch.setattr(sensitivity, "next_places", lambda axes, surfaces, grid: next(asked, []))
    recipe = evaluator.recipe("ties")
    wanted = sensitivity.fields_of(Sides(recipe, recipe.with_experts("mild")), "scale", "density")
    return conduct(sensitivity.saving_field(wanted), evaluator, planned=Plan(0, 0, 0))


def test_what_is_planned_is_the_whole_grid_at_most(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sensitivity, "OWN_LEVELS", 5)
    wanted = sensitivity.fields_of(Sides(evaluator.recipe("ties"), None), "scale", "density")
    whole, saving = (plan(rounds(wanted), evaluator) for rounds in (sensitivity.study_field, sensitivity.saving_field))
    assert whole == saving


def test_every_place_is_measured_or_estimated_and_that_is_said(found: pd.DataFrame):
    shown = sensitivity.one_a_place(found)
    places = shown[shown["kind"].isin(["grid", "estimate"])]
    assert not places.duplicated(["stage", "x", "y"]).any()
    assert places.groupby("stage").size().tolist() == [81, 81]
    measured = places[places["kind"] == "grid"].groupby("stage").size()
    assert measured.nunique() == 1  # the same places, so that differences are paired
    assert f"Measured {measured.iloc[0]} of 81 points" in sensitivity.saving(shown)
    assert measured.iloc[0] < 81
    estimated = places[places["kind"] == "estimate"]
    assert (estimated["n"] == 0).all()
    assert estimated["accuracy_low"].isna().all()
    for best in shown[shown["kind"] == "best"].to_dict(orient="records"):
        row = places[(places["stage"] == best["stage"]) & (places["y"] == best["y"])]
        assert (row["kind"] == "grid").all()


def test_only_what_was_measured_has_dots_and_numbers(found: pd.DataFrame):
    shown = sensitivity.one_a_place(found)
    measured = (shown["kind"] == "grid").sum()
    dots = [trace for trace in surfaces.pair(shown).data if trace.customdata is not None]
    assert sum(len(trace.x) for trace in dots) == measured * 3 // 2  # and the difference
    assert not any("0 images" in said.replace("10 images", "") for trace in dots for said in trace.hovertext)
    filled = surfaces.pair(shown).data[0]
    assert np.isfinite(np.array(filled.z, dtype=float)).all()


def test_a_table_without_estimates_says_nothing_of_saving(found: pd.DataFrame):
    assert sensitivity.saving(found[found["kind"] != "estimate"]) == ""
