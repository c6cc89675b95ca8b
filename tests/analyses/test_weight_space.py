from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from experts import noise, with_experts
from tiny import TASKS

from ri_analysis.analyses.drift import measure_drift
from ri_analysis.analyses.geometry import weight_geometry
from ri_analysis.engine import Evaluator
from ri_analysis.engine.gram import task_vector_gram
from ri_analysis.engine.store import known
from ri_analysis.files import digest
from ri_analysis.task_vectors import Layer, TaskVectors


def test_identical_experts_merged_at_their_mean_do_not_drift(tiny: Path) -> None:
    evaluator = with_experts(tiny, lambda _, tensors: noise(tensors, 0.05, 1))
    recipe = evaluator.recipe("averaging")
    assert measure_drift(evaluator, recipe).table("cosine").drift.tolist() == pytest.approx([0] * 3, abs=1e-5)
    geometry = weight_geometry(evaluator)
    assert geometry.gram.cosine() == pytest.approx(1)
    assert geometry.collision[0, 1] > 0.5  # they use the very same singular directions


def test_layers_come_in_the_order_images_pass_them(evaluator: Evaluator) -> None:
    layers = weight_geometry(evaluator).layers
    assert layers.layer.iloc[-1] == "visual.proj"
    assert layers.block.tolist()[:-1] == sorted(layers.block.tolist()[:-1])
    assert set(layers.block) == {0, 1, 2}


def test_weights_are_walked_once(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    gram = task_vector_gram(evaluator.suite, evaluator.store)
    monkeypatch.setattr(TaskVectors, "walk", lambda *_: pytest.fail("walked again"))
    two = weight_geometry(evaluator, tasks=["Blues", "Reds"])
    assert two.gram.tasks == ("Blues", "Reds")
    assert two.gram.cosine()[0, 1] == gram.cosine()[2, 0]
    assert np.array_equal(task_vector_gram(evaluator.suite, evaluator.store).cosine(), gram.cosine())  # every digit
    seen: list[str] = []
    monkeypatch.setattr(TaskVectors, "layer", _noting(TaskVectors.layer, seen))
    whole = weight_geometry(evaluator)
    assert set(seen) == set(whole.layers.layer)  # matrices only, each once
    assert len(seen) == len(whole.layers)
    assert weight_geometry(evaluator).layers.equals(whole.layers)
    assert len(seen) == len(whole.layers)


def _noting(layer: Callable[..., Layer], seen: list[str]) -> Callable[..., Layer]:
    def noted(vectors: TaskVectors, name: str, *rest: object) -> Layer:
        seen.append(name)
        return layer(vectors, name, *rest)

    return noted


def test_experts_that_changed_no_matrix_do_not_collide(tiny: Path) -> None:
    evaluator = with_experts(tiny, lambda task, tensors: noise(tensors, 0.1, len(task), "ln_post"))
    for _ in range(2):  # worked out, and kept
        geometry = weight_geometry(evaluator)
        assert geometry.layers.empty
        assert geometry.collision.tolist() == [[0.0] * 3] * 3
        assert np.isfinite(geometry.gram.cosine()).all()


def test_answers_that_named_all_tensors_are_read(evaluator: Evaluator) -> None:
    found = weight_geometry(evaluator)
    suite, store = evaluator.suite, evaluator.store
    weights = [suite.pretrained.digest, *(suite.expert(task).digest for task in TASKS)]
    arrays = known(store.get(digest("1", "geometry", *weights)))
    zero, square = np.zeros(1), np.zeros((1, 3, 3))
    more = {"name": np.array(["visual.ln_post.weight"]), "interference": zero, "singular_sum": zero}
    more |= {"pairs": square, "pair_sums": square}
    store.put(
        digest("1", "geometry", *weights),
        {name: np.concatenate([more[name], arrays[name]]) for name in more} | {"gram": square},
    )
    assert weight_geometry(evaluator).layers.equals(found.layers)
    assert np.array_equal(weight_geometry(evaluator).collision, found.collision)
