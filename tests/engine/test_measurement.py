"""One measurement: nothing is encoded twice, whoever asks, and what is cut out or completed equals what is measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ri_analysis.analyses.clouds import collect
from ri_analysis.analyses.contribution import contributions
from ri_analysis.analyses.drift import measure_drift
from ri_analysis.encoder import Encoder
from ri_analysis.engine import Evaluator, Store
from ri_analysis.engine.measurement import Request
from ri_analysis.engine.models import combined_model
from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.engine.sections import JOINT
from ri_analysis.errors import InputError
from ri_analysis.studies.conducting.point import Point
from ri_analysis.suite import open_suite

Count = Callable[[], int]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Count:
    """Return what tells how many images went through a tower since it was asked last."""
    seen: list[int] = []
    original = Encoder.forward

    def forward(self: Encoder, inputs: torch.Tensor) -> torch.Tensor:
        seen.append(len(inputs))
        return original(self, inputs)

    monkeypatch.setattr(Encoder, "forward", forward)

    def count() -> int:
        total = sum(seen)
        seen.clear()
        return total

    return count


def same(left: Outcomes, right: Outcomes) -> None:
    assert list(left) == list(right)
    for name in left:
        np.testing.assert_array_equal(left[name].rows, right[name].rows)
        np.testing.assert_array_equal(left[name].predicted, right[name].predicted)
        if right[name].divergence is not None:
            np.testing.assert_allclose(left[name].divergence, right[name].divergence, atol=1e-6)


def test_all_analyses_of_a_recipe_share_one_measurement(evaluator: Evaluator, encoded: Count):
    recipe = evaluator.recipe("ties")
    evaluator.measure(recipe, limit=6)
    assert encoded() == 3 * 18  # experts, pretrained, merged: six images of three tasks each
    evaluator.measure(recipe)
    assert encoded() == 3 * 72 - 3 * 18  # the first look's images are not encoded again
    for limit in (None, 24, 12, 5):
        evaluator.measure(recipe, limit=limit)
        Point(recipe, limit=limit).compute(evaluator)
        measure_drift(evaluator, recipe, limit=limit)
    assert encoded() == 0
    collect(evaluator, {"before": recipe})
    assert encoded() == 0
    contributions(evaluator, recipe, limit=12)
    # Coalitions of one and two of three tasks, each on its own tasks' 12 images: the full one is known.
    assert encoded() == 12 * (3 * 1 + 3 * 2)
    evaluator.crosstalk()
    assert encoded() == 3 * 48  # each expert on the others' tasks
    Point(recipe, JOINT).compute(evaluator)
    assert encoded() == 0  # features are kept, so other heads need no tower


def test_another_evaluator_finds_all_of_it(evaluator: Evaluator, encoded: Count):
    recipe = evaluator.recipe("ties")
    first = evaluator.measure(recipe)
    encoded()
    again = Evaluator(open_suite(str(evaluator.suite.spec.path)), evaluator.store.workspace, "cpu")
    assert again.kept(recipe)
    assert again.measure(recipe).summary() == first.summary()
    assert encoded() == 0


@pytest.mark.parametrize("limits", [(5, 12, None), (None, 12, 5), (12, 5, None), (24, None, 6)])
def test_a_subset_is_cut_out_or_completed(evaluator: Evaluator, limits: tuple[int | None, ...]):
    """Whatever was asked first, an answer equals that of a store that knew nothing."""
    recipe = evaluator.recipe("averaging")
    for limit in limits:
        found = Point(recipe, limit=limit).compute(evaluator)
        fresh = Evaluator(evaluator.suite, device="cpu", store=Store(evaluator.store.workspace, in_memory=True))
        same(found, Point(recipe, limit=limit).compute(fresh))


def test_cost_is_what_is_encoded(evaluator: Evaluator, encoded: Count):
    sections = evaluator.sections(evaluator.suite.tasks)
    model = evaluator.model(evaluator.recipe("averaging"))
    asked = [
        Request(model, sections, 6),
        Request(model, sections[:1], 12),
        Request(evaluator.pretrained, sections, 3, True),
    ]
    told: list[tuple[int, int]] = []
    expected = evaluator.measurement.cost(asked)
    # the model: 12 + 6 + 6; the pretrained model: 3 × 3; the experts that both are held against: 12 + 6 + 6
    assert expected == 24 + 9 + 24
    evaluator.measurement.outcomes(asked, lambda done, total: told.append((done, total)))
    assert encoded() == expected
    assert told[-1] == (expected, expected)
    assert told == sorted(told)
    assert evaluator.measurement.cost(asked) == 0


def test_a_cancelled_measurement_keeps_what_is_finished(evaluator: Evaluator, encoded: Count):
    sections, suite = evaluator.sections(evaluator.suite.tasks), evaluator.suite
    asked = [Request(combined_model(suite, {"Reds": amount}), sections, 6) for amount in (0.2, 0.4, 0.6)]

    class Enough(Exception):
        pass

    def stop(done: int, _total: int) -> None:
        if done >= 18 * 3:  # the experts, the first and the second model
            raise Enough

    with pytest.raises(Enough):
        evaluator.measurement.outcomes(asked, stop)
    encoded()
    evaluator.measurement.outcomes(asked)
    assert encoded() <= 18 * 2


def test_a_combination_of_task_vectors_is_a_model(evaluator: Evaluator):
    suite, tasks = evaluator.suite, evaluator.suite.tasks
    assert (
        combined_model(suite, {}).digest == combined_model(suite, {"Reds": 0.0}).digest == evaluator.pretrained.digest
    )
    assert combined_model(suite, {"Reds": 1.0, "Blues": 0.0}).digest == evaluator.expert("Reds").digest
    zero = suite.zero_shot
    vectors = suite.task_vectors()
    made = dict(combined_model(suite, {"Reds": 0.5, "Blues": -1.0}).weights(None))  # type: ignore[call-overload]
    for name in zero:
        expected = (
            zero[name]
            + 0.5 * (vectors.expert(name, "Reds") - zero[name])
            - (vectors.expert(name, "Blues") - zero[name])
        )
        torch.testing.assert_close(made[name], expected)
    summed = Point(evaluator.recipe("task-arithmetic", {"scale": 0.3})).compute(evaluator)
    combined = evaluator.measurement.outcomes(
        [Request(combined_model(suite, dict.fromkeys(tasks, 0.3)), evaluator.sections(tasks))]
    )[0]
    same(summed, combined)


def test_weights_too_large_are_one_message_and_nothing_is_kept(evaluator: Evaluator, tiny: Path):
    path = tiny.parent / "original" / "Greens.safetensors"
    save_file({name: tensor * (3e38 if name == "visual.proj" else 1) for name, tensor in load_file(path).items()}, path)
    changed = Evaluator(open_suite(str(tiny)), evaluator.store.workspace, "cpu")
    recipe = changed.recipe("task-arithmetic", {"scale": 5.0}, tasks=["Reds", "Greens"])
    with pytest.raises(InputError, match="its outputs are NaN, infinite or zero"):
        changed.measure(recipe)
    assert not changed.kept(recipe)


def test_features_are_kept_within_their_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ri_analysis.engine.store.FEATURES", 3 * 300)
    store = Store(tmp_path)
    rows: Any = np.arange(40, dtype=np.float32).reshape(10, 4)
    for key in "abcde":
        store.put_features(key, rows)
    assert [key for key in "abcde" if store.features_count(key, 10)] == ["c", "d", "e"]
    store.put_features("e", np.concatenate([rows, rows]))  # a larger subset takes the smaller one's place
    found = store.features("e", 5)
    assert found is not None
    assert found.shape == (20, 4)
    assert store.features("a", 5) is None
