"""The scale that all methods share: by hand, and against merged weights."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from ri_analysis.engine import Evaluator
from ri_analysis.figures import surfaces
from ri_analysis.studies.conducting.conduct import conduct, plan
from ri_analysis.studies.effective import with_effective_scales
from ri_analysis.studies.sensitivity import STUDY


@pytest.fixture
def curves(evaluator: Evaluator) -> pd.DataFrame:
    settings = {item.name: item.default for item in STUDY.settings}
    settings |= {"methods": "averaging,task-arithmetic,ties", "levels": 3, "images": 6}
    return conduct(
        STUDY.rounds(evaluator, settings), evaluator, planned=plan(STUDY.rounds(evaluator, settings), evaluator)
    )


def moved(evaluator: Evaluator, method: str, experts: str, scale: float) -> float:
    """Return how far a merge is from the pretrained model."""
    vectors = evaluator.task_vectors(experts)
    recipe = evaluator.recipe(method, {"scale": scale}, experts=experts)
    parts = [(part - vectors.pretrained(name)).double().ravel() for name, part in evaluator.merged(recipe)]
    return float(torch.cat(parts).norm())


def test_the_scale_is_how_far_weights_move_relative_to_averaging(evaluator: Evaluator, curves: pd.DataFrame):
    found = with_effective_scales(evaluator, curves)
    assert len(found) == (curves["kind"] == "grid").sum()  # what was measured, and nothing else
    arithmetic = found[found["method"] == "task-arithmetic"]
    assert arithmetic["effective"].tolist() == pytest.approx((3 * arithmetic["x"]).tolist())  # a sum of three
    for row in found[found["method"] == "ties"].to_dict(orient="records"):
        expected = moved(evaluator, "ties", row["experts"], row["x"])
        assert row["effective"] == pytest.approx(
            expected / moved(evaluator, "averaging", row["experts"], 1.0), rel=1e-3
        )
    again = with_effective_scales(evaluator, curves, progress=pytest.fail)  # kept
    pd.testing.assert_frame_equal(again, found)


def test_only_curves_over_the_scale_have_it(evaluator: Evaluator, curves: pd.DataFrame):
    with pytest.raises(ValueError, match="curves over λ"):
        with_effective_scales(evaluator, curves.assign(x_name="density"))


def test_every_measured_point_is_drawn_with_its_interval_and_bests_are_stars(
    evaluator: Evaluator, curves: pd.DataFrame
):
    found = with_effective_scales(evaluator, curves)
    figure = surfaces.together(found)
    assert sum(len(trace.x) for trace in figure.data) == len(found)
    for trace in figure.data:
        stars = [y for y, symbol in zip(trace.y, trace.marker.symbol, strict=True) if symbol == "star"]
        assert set(stars) == {max(trace.y)}
        assert list(trace.x) == sorted(trace.x)
        assert all("18 images" in said and "–" in said and "effective scale" in said for said in trace.hovertext)
    assert figure.layout.xaxis.type == "log"
