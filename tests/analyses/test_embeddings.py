from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tiny import TASKS

from ri_analysis.analyses.clouds import EXPERT, PRETRAINED, Clouds, collect
from ri_analysis.analyses.embeddings import ANALYSIS, drift_sizes, together
from ri_analysis.analyses.map_payload import COLOURS, payload
from ri_analysis.analyses.maps import pca_map, umap_map
from ri_analysis.engine import Evaluator
from ri_analysis.errors import Cancelled
from ri_analysis.sides import AFTER, BEFORE, Sides
from ri_analysis.views.map import picture_sheet


@pytest.fixture
def clouds(evaluator: Evaluator) -> Clouds:
    recipe = evaluator.recipe("task-arithmetic", {"scale": 1.0})
    return collect(evaluator, {BEFORE: recipe, AFTER: recipe.with_experts("mild")})


def test_clouds_hold_the_same_images_under_every_model(evaluator: Evaluator, clouds: Clouds) -> None:
    assert list(clouds.features) == [PRETRAINED, EXPERT, BEFORE, AFTER]
    assert all(each.shape == (clouds.n, 16) for each in clouds.features.values())
    evaluation = evaluator.measure(evaluator.recipe("task-arithmetic", {"scale": 1.0}))
    right = clouds.images.groupby("task")[f"{BEFORE}_right"].mean()
    for row in evaluation.table.itertuples():
        assert right[row.task] == pytest.approx(row.accuracy)
    cosine = (clouds.features[EXPERT] * clouds.features[AFTER]).sum(axis=1)
    assert clouds.images[f"{AFTER}_drift"].to_numpy() == pytest.approx(1 - cosine, abs=1e-5)
    assert f"{EXPERT}_drift" not in clouds.images


def test_both_sides_together_are_what_is_collected_at_once(evaluator: Evaluator, clouds: Clouds) -> None:
    recipe = evaluator.recipe("task-arithmetic", {"scale": 1.0})
    answer = ANALYSIS.ask(evaluator, Sides(recipe, recipe.with_experts("mild")))
    found, drawn = together(answer.results), pca_map(clouds)
    assert found.clouds.keys == clouds.keys
    assert list(found.clouds.keys) == list(clouds.features)
    pd.testing.assert_frame_equal(found.clouds.images, clouds.images)
    for model, points in drawn.points.items():
        np.testing.assert_array_equal(found.drawn.points[model], points)


def test_pca_is_that_of_the_experts(clouds: Clouds) -> None:
    drawn = pca_map(clouds)
    expert = clouds.features[EXPERT] - clouds.features[EXPERT].mean(axis=0)
    _, sizes, axes = np.linalg.svd(expert.astype(np.float64), full_matrices=False)
    axes = axes[:2] * np.sign(axes[[0, 1], np.abs(axes[:2]).argmax(axis=1)])[:, None]  # the largest entry is positive
    for name, features in clouds.features.items():
        placed = (features - clouds.features[EXPERT].mean(axis=0)) @ axes.T
        assert drawn.points[name] == pytest.approx(placed, abs=1e-5)
    assert f"{(sizes[:2] ** 2).sum() / (sizes**2).sum():.0%}" in drawn.says
    assert drawn.points[EXPERT].mean(axis=0) == pytest.approx(0, abs=1e-5)
    assert drawn.points[BEFORE].mean(axis=0) != pytest.approx(0, abs=1e-5)
    assert drawn.floor is None


class FakeUmap:
    """Takes the place of umap.UMAP, whose compilation takes longer than all tests: the same calls, another map."""

    fits = 0

    def __init__(self, transform_mode: str = "embedding", **settings: object) -> None:
        assert settings["metric"] == "precomputed"
        self.transform_mode, self.bar = transform_mode, settings["tqdm_kwds"]

    def fit(self, distances: np.ndarray) -> FakeUmap:
        self.size = len(distances)
        assert distances.shape == (self.size, self.size)
        if self.transform_mode == "embedding":
            FakeUmap.fits += 1
            self.bar["file"].write("\r100/200")
            self.embedding_ = np.stack([distances[:, 0], distances[:, 1]], axis=1)
        return self

    def transform(self, distances: np.ndarray) -> np.ndarray:
        assert self.transform_mode == "embedding"
        assert distances.shape[1] == self.size > len(distances)  # never the fitted data themselves
        self.bar["file"].write("\r30/30")
        return distances[:, :2] + [0.3, 0.4]


def test_umap_is_fitted_once_and_others_are_placed_in_it(
    evaluator: Evaluator, clouds: Clouds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=FakeUmap))
    monkeypatch.setattr(FakeUmap, "fits", 0)

    def cancel(done: int, total: int) -> None:
        if done > 2 * clouds.n:  # once it is fitted
            raise Cancelled

    with pytest.raises(Cancelled):
        umap_map(evaluator, clouds, cancel)
    seen: list[tuple[int, int]] = []
    first = umap_map(evaluator, clouds, lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {total for _, total in seen} == {2 * 5 * clouds.n}  # a fit, three models, and the experts again
    assert seen[-1][0] == seen[-1][1]
    assert first.floor == pytest.approx(0.5)  # the fake places everything 0.5 away from where it was fitted
    other = evaluator.recipe("task-arithmetic", {"scale": 0.5})
    second = umap_map(evaluator, collect(evaluator, {BEFORE: other}))
    assert np.array_equal(first.points[EXPERT], second.points[EXPERT])
    assert np.array_equal(first.points[PRETRAINED], second.points[PRETRAINED])
    assert not np.array_equal(first.points[BEFORE], second.points[BEFORE])
    assert FakeUmap.fits == 1


def test_umaps_own_progress_is_counted_while_it_fits(
    evaluator: Evaluator, clouds: Clouds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=FakeUmap))
    seen: list[int] = []
    umap_map(evaluator, clouds, lambda done, _: seen.append(done))
    assert seen[:3] == [0, clouds.n, 2 * clouds.n]  # half of a fit, which takes two looks at a point


@pytest.mark.parametrize("colour", list(COLOURS))
def test_payload_is_one_row_a_point_in_both_panels(clouds: Clouds, colour: str) -> None:
    rows = np.flatnonzero(clouds.images["task"] != "Reds")
    drawn = pca_map(clouds)
    data = payload(clouds.images, rows, drawn, (EXPERT, AFTER), colour, tuple(TASKS), name="m", pictures="p", dark=True)
    assert data["ids"] == clouds.images["id"].iloc[rows].tolist()
    for panel, model in zip(data["panels"], (EXPERT, AFTER), strict=True):
        assert panel["x"] == pytest.approx(drawn.points[model][rows, 0].tolist(), abs=1e-4)
        assert len(panel["y"]) == len(panel["colour"]) == len(rows)
        assert 0 <= min(panel["colour"]) <= max(panel["colour"]) < len(data["palette"])
    assert len(data["texts"]) == len(rows)
    assert "expert" in data["texts"][0][1]


def test_right_and_drift_colours_follow_each_panels_model(clouds: Clouds) -> None:
    rows, drawn = np.arange(clouds.n), pca_map(clouds)

    def codes(colour: str) -> list[list[int]]:
        data = payload(clouds.images, rows, drawn, (EXPERT, BEFORE), colour, tuple(TASKS), name="m", pictures="p")
        return [panel["colour"] for panel in data["panels"]]

    for panel, model in zip(codes("right"), (EXPERT, BEFORE), strict=True):
        assert panel == (~clouds.images[f"{model}_right"]).astype(int).tolist()
    expert, merged = codes("drift")
    assert set(expert) == {0}
    assert np.argmax(clouds.images[f"{BEFORE}_drift"]) in np.flatnonzero(np.array(merged) == max(merged))


def test_drift_sizes_are_means_in_feature_space(clouds: Clouds) -> None:
    sizes = drift_sizes(clouds).set_index(["model", "task"])
    mean = clouds.images[clouds.images["task"] == "Greens"][f"{BEFORE}_drift"].mean()
    assert sizes.drift["merged before RI", "Greens"] == pytest.approx(mean, rel=1e-5)
    assert len(sizes) == 9


def test_picture_sheet_has_every_image_in_its_place() -> None:
    sheet = picture_sheet(np.zeros((5, 4, 4, 3), np.uint8), list("abcde"))
    assert (sheet["columns"], sheet["index"]["e"]) == (3, 4)
    assert sheet["url"].startswith("data:image/jpeg;base64,")
