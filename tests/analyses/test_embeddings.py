from __future__ import annotations

import base64
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tiny import TASKS

from ri_analysis.analyses import maps
from ri_analysis.analyses.clouds import EXPERT, PRETRAINED, Clouds, Prototypes, collect, prototypes
from ri_analysis.analyses.embeddings import ANALYSIS, Embedded, drift_sizes, selection_summary, together
from ri_analysis.analyses.map_payload import COLOURS, payload
from ri_analysis.analyses.maps import pca_map, umap_map
from ri_analysis.engine import Evaluator
from ri_analysis.errors import Cancelled
from ri_analysis.sides import AFTER, BEFORE, Sides
from ri_analysis.views.map import packed, picture_sheet


@pytest.fixture
def clouds(evaluator: Evaluator) -> Clouds:
    recipe = evaluator.recipe("task-arithmetic", {"scale": 1.0})
    return collect(evaluator, {BEFORE: recipe, AFTER: recipe.with_experts("mild")})


@pytest.fixture
def anchors(evaluator: Evaluator, clouds: Clouds) -> Prototypes:
    return prototypes(evaluator, clouds)


@pytest.fixture
def found(clouds: Clouds, anchors: Prototypes) -> Embedded:
    return Embedded(clouds, pca_map(clouds, anchors), anchors.names)


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
    found, drawn = together(answer.results), pca_map(clouds, prototypes(evaluator, clouds))
    assert found.clouds.keys == clouds.keys
    assert list(found.clouds.keys) == list(clouds.features)
    pd.testing.assert_frame_equal(found.clouds.images, clouds.images)
    for model, points in drawn.points.items():
        np.testing.assert_array_equal(found.drawn.points[model], points)


def test_pca_is_that_of_the_experts(clouds: Clouds, anchors: Prototypes) -> None:
    drawn = pca_map(clouds, anchors)
    expert = clouds.features[EXPERT] - clouds.features[EXPERT].mean(axis=0)
    _, sizes, axes = np.linalg.svd(expert.astype(np.float64), full_matrices=False)
    axes = axes[:2] * np.sign(axes[[0, 1], np.abs(axes[:2]).argmax(axis=1)])[:, None]  # the largest entry is positive
    for name, features in clouds.features.items():
        placed = (features - clouds.features[EXPERT].mean(axis=0)) @ axes.T
        assert drawn.points[name] == pytest.approx(placed, abs=1e-5)
    placed = (anchors.features - clouds.features[EXPERT].mean(axis=0)) @ axes.T
    assert drawn.prototypes == pytest.approx(placed, abs=1e-5)
    assert f"{(sizes[:2] ** 2).sum() / (sizes**2).sum():.0%}" in drawn.says
    assert drawn.points[EXPERT].mean(axis=0) == pytest.approx(0, abs=1e-5)
    assert drawn.points[BEFORE].mean(axis=0) != pytest.approx(0, abs=1e-5)
    assert drawn.floor is None


def test_prototypes_lie_among_their_tasks_images_and_decide_as_the_heads_do(
    evaluator: Evaluator, clouds: Clouds, anchors: Prototypes
) -> None:
    for task in TASKS:
        mine, images = (anchors.names["task"] == task).to_numpy(), (clouds.images["task"] == task).to_numpy()
        head, own = evaluator.heads[task], clouds.features[EXPERT][images]
        assert anchors.names["class"][mine].tolist() == list(head.classes)
        weights = head.weight.numpy() / head.weight.norm(dim=1).mean().item()
        moved = weights - weights.mean(axis=0) + own.mean(axis=0)
        assert np.array_equal((own @ moved.T).argmax(axis=1), (own @ head.weight.numpy().T).argmax(axis=1))
        unit = moved / np.linalg.norm(moved, axis=1, keepdims=True)
        assert anchors.features[mine] == pytest.approx(unit, abs=1e-6)


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
    evaluator: Evaluator, clouds: Clouds, anchors: Prototypes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=FakeUmap))
    monkeypatch.setattr(FakeUmap, "fits", 0)

    def cancel(done: int, total: int) -> None:
        if done > 2 * clouds.n:  # once it is fitted
            raise Cancelled

    with pytest.raises(Cancelled):
        umap_map(evaluator, clouds, anchors, cancel)
    seen: list[tuple[int, int]] = []
    first = umap_map(evaluator, clouds, anchors, lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    points = 5 * clouds.n + len(anchors.features)  # a fit, three models, the experts again, and the prototypes
    assert {total for _, total in seen} == {2 * points}
    assert seen[-1][0] == seen[-1][1]
    assert first.floor == pytest.approx(0.5)  # the fake places everything 0.5 away from where it was fitted
    other = evaluator.recipe("task-arithmetic", {"scale": 0.5})
    second = umap_map(evaluator, collect(evaluator, {BEFORE: other}), anchors)
    assert np.array_equal(first.prototypes, second.prototypes)
    assert np.array_equal(first.points[EXPERT], second.points[EXPERT])
    assert np.array_equal(first.points[PRETRAINED], second.points[PRETRAINED])
    assert not np.array_equal(first.points[BEFORE], second.points[BEFORE])
    assert FakeUmap.fits == 1


def test_umaps_own_progress_is_counted_while_it_fits(
    evaluator: Evaluator, clouds: Clouds, anchors: Prototypes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=FakeUmap))
    seen: list[int] = []
    umap_map(evaluator, clouds, anchors, lambda done, _: seen.append(done))
    assert seen[:3] == [0, clouds.n, 2 * clouds.n]  # half of a fit, which takes two looks at a point


class NearlyUmap(FakeUmap):
    """UMAP as it is asked where there are many points."""

    def __init__(self, transform_mode: str = "embedding", **settings: object) -> None:
        assert settings["metric"] == "cosine"
        super().__init__(transform_mode, **settings | {"metric": "precomputed"})

    def fit(self, features: np.ndarray) -> FakeUmap:
        self.width = features.shape[1]
        self.embedding_ = features[:, :2]
        return self

    def transform(self, features: np.ndarray) -> np.ndarray:
        assert features.shape[1] == self.width
        return features[:, :2]


def test_many_points_are_compared_by_features(
    evaluator: Evaluator, clouds: Clouds, anchors: Prototypes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=NearlyUmap))
    monkeypatch.setattr(maps, "POINTS", clouds.n - 1)
    drawn = umap_map(evaluator, clouds, anchors)
    assert "approximate search" in drawn.says
    assert np.array_equal(drawn.prototypes, anchors.features[:, :2])


def test_a_map_holds_no_more_images_than_asked_for(evaluator: Evaluator) -> None:
    recipe = evaluator.recipe("task-arithmetic")
    few = collect(evaluator, {BEFORE: recipe}, most=12)
    assert few.images.groupby("task").size().tolist() == [4, 4, 4]


@pytest.mark.parametrize("colour", list(COLOURS))
def test_payload_is_one_row_a_point_in_every_panel(found: Embedded, colour: str) -> None:
    images = found.clouds.images
    rows, models = np.flatnonzero(images["task"] != "Reds"), (EXPERT, BEFORE, AFTER)
    data = payload(found, rows, models, colour, tuple(TASKS), name="m", pictures="p", dark=True)
    assert data["ids"] == images["id"].iloc[rows].tolist()
    for panel, model in zip(data["panels"], models, strict=True):
        assert np.array_equal(panel["x"], found.drawn.points[model][rows, 0])
        assert len(panel["y"]) == len(panel["colour"]) == len(rows)
        assert 0 <= min(panel["colour"]) <= max(panel["colour"]) < len(data["palette"])
    assert [data["classes"][code] for code in data["truth"]] == images["class"].iloc[rows].tolist()
    assert [data["tasks"][code] for code in data["task"]] == images["task"].iloc[rows].tolist()
    expert, before, after = data["models"]
    assert [data["classes"][code] for code in after["says"]] == images[f"{AFTER}_says"].iloc[rows].tolist()
    assert np.array_equal(before["right"], images[f"{BEFORE}_right"].iloc[rows])
    assert expert["drift"] is None
    assert before["drift"] == pytest.approx(images[f"{BEFORE}_drift"].iloc[rows].to_numpy(), abs=1e-6)
    kept = found.classes["task"] != "Reds"
    assert data["prototypes"]["labels"] == found.classes["class"][kept].tolist()
    assert data["prototypes"]["x"] == found.drawn.prototypes[kept.to_numpy(), 0].tolist()


def test_right_and_drift_colours_follow_each_panels_model(found: Embedded) -> None:
    rows, images = np.arange(found.clouds.n), found.clouds.images

    def codes(colour: str) -> list[np.ndarray]:
        data = payload(found, rows, (EXPERT, BEFORE), colour, tuple(TASKS), name="m", pictures="p")
        return [panel["colour"] for panel in data["panels"]]

    for panel, model in zip(codes("right"), (EXPERT, BEFORE), strict=True):
        assert np.array_equal(panel, ~images[f"{model}_right"])
    expert, merged = codes("drift")
    assert set(expert) == {0}
    assert np.argmax(images[f"{BEFORE}_drift"]) in np.flatnonzero(merged == max(merged))


def test_what_a_selection_lost_and_regained_is_counted_by_class() -> None:
    images = pd.DataFrame(
        {
            "task": ["A", "A", "A", "B"],
            "class": ["x", "x", "y", "x"],
            "expert_right": [True, True, False, True],
            "before_right": [False, False, False, True],
            "after_right": [True, False, True, True],
        }
    )
    table = selection_summary(images)
    assert table.to_dict("records") == [
        {"task": "A", "class": "x", "n": 2, "expert": 2, "before": 0, "after": 1, "lost_before": 2, "lost_after": 1,
         "regained": 1},
        {"task": "A", "class": "y", "n": 1, "expert": 0, "before": 0, "after": 1, "lost_before": 0, "lost_after": 0,
         "regained": 1},
        {"task": "B", "class": "x", "n": 1, "expert": 1, "before": 1, "after": 1, "lost_before": 0, "lost_after": 0,
         "regained": 0},
    ]  # fmt: skip
    alone = selection_summary(images.drop(columns="after_right"))
    assert list(alone) == ["task", "class", "n", "expert", "before", "lost_before"]


def test_arrays_are_sent_as_their_bytes() -> None:
    sent = packed({"panels": [{"x": np.array([1.5, -2], np.float32)}], "codes": np.array([3], np.uint16), "ids": ["a"]})
    assert sent["ids"] == ["a"]
    assert sent["panels"][0]["x"]["kind"] == "f4"
    assert np.frombuffer(base64.b64decode(sent["panels"][0]["x"]["bytes"]), "<f4").tolist() == [1.5, -2]
    assert sent["codes"] == {"kind": "u2", "bytes": base64.b64encode(b"\x03\x00").decode()}


def test_drift_sizes_are_means_in_feature_space(clouds: Clouds) -> None:
    sizes = drift_sizes(clouds).set_index(["model", "task"])
    mean = clouds.images[clouds.images["task"] == "Greens"][f"{BEFORE}_drift"].mean()
    assert sizes.drift["merged before RI", "Greens"] == pytest.approx(mean, rel=1e-5)
    assert len(sizes) == 9


def test_picture_sheet_has_every_image_in_its_place() -> None:
    sheet = picture_sheet(np.zeros((5, 4, 4, 3), np.uint8), list("abcde"))
    assert (sheet["columns"], sheet["index"]["e"]) == (3, 4)
    assert sheet["url"].startswith("data:image/jpeg;base64,")
