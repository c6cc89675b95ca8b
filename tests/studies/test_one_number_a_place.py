"""A place of a surface has one number, on the page and in its figures: the one from the most images."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from ri_analysis.engine import Evaluator
from ri_analysis.figures import surfaces
from ri_analysis.sides import Sides
from ri_analysis.studies import sensitivity
from ri_analysis.studies.conducting.conduct import conduct, plan


@pytest.fixture
def surface(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.setattr(sensitivity, "OWN_LEVELS", 4)
    monkeypatch.setattr(sensitivity, "OWN_IMAGES", 6)
    recipe = evaluator.recipe("ties")
    wanted = sensitivity.fields_of(Sides(recipe, recipe.with_experts("mild")), "scale", "density")
    planned = plan(sensitivity.study_field(wanted), evaluator)
    return conduct(sensitivity.study_field(wanted), evaluator, planned=planned)


def test_every_place_has_one_row_from_the_most_images(surface: pd.DataFrame) -> None:
    shown = sensitivity.one_a_place(surface)
    grid = shown[shown["kind"] == "grid"]
    assert len(grid) == 2 * 16
    assert not grid.duplicated(["stage", "x", "y"]).any()
    measured = surface[surface["kind"].isin(["grid", "fine"])]
    most = measured.groupby(["stage", "x", "y"])["n"].max()
    assert (grid.set_index(["stage", "x", "y"])["n"].sort_index() == most).all()
    for row in shown[shown["kind"].isin(["best", "default"])].to_dict(orient="records"):
        same = grid[(grid["stage"] == row["stage"]) & (grid["x"] == row["x"]) & (grid["y"] == row["y"])]
        assert same[["accuracy", "n"]].iloc[0].tolist() == [row["accuracy"], row["n"]]


def test_both_sides_of_a_difference_rest_on_the_same_images(surface: pd.DataFrame) -> None:
    grid = sensitivity.one_a_place(surface).query("kind == 'grid'")
    assert (grid.pivot(index="x", columns=["y", "stage"], values="n").T.groupby("y").nunique() == 1).all(axis=None)


def test_hovering_says_number_interval_and_images(surface: pd.DataFrame) -> None:
    shown = sensitivity.one_a_place(surface)
    figure = surfaces.pair(shown)
    before, _, change = (trace for trace in figure.data if trace.hovertext is not None)
    best = shown[(shown["kind"] == "best") & (shown["stage"] == "before")].iloc[0]
    place = [list(each) for each in before.customdata].index([best["x"], best["y"]])
    assert f"accuracy: {best['accuracy']:.1%}" in before.hovertext[place]
    assert re.search(r"\(\d+.*–.*%\).*36 images", before.hovertext[place])
    assert "36 images" in change.hovertext[place]
    assert sensitivity.on_images(shown).endswith("18 test images; those in the row or column of a best point, on 36.")
