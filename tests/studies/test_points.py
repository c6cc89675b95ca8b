from __future__ import annotations

import json

import made
import numpy as np
import pytest
import torch

from ri_analysis.checkpoints import vision_tower
from ri_analysis.engine import Evaluator, Store
from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.engine.sections import JOINT, LEFT_OUT, UNSEEN, VALIDATION
from ri_analysis.errors import InputError
from ri_analysis.resolving import resolve
from ri_analysis.studies.conducting.adaptation import Adaptation
from ri_analysis.studies.conducting.crew import here
from ri_analysis.studies.conducting.point import Point
from ri_analysis.studies.study import changed, measured


@pytest.mark.parametrize("split", ["test", VALIDATION])
@pytest.mark.parametrize("limit", [None, 6])
def test_a_point_measures_what_the_evaluator_does(evaluator: Evaluator, split: str, limit: int | None):
    recipe = evaluator.recipe("ties", experts="ri", tasks=["Reds", "Blues"])
    outcome = Point(recipe, split, limit).compute(evaluator)
    expected = evaluator.measure(recipe, split=split, limit=limit)
    assert list(outcome.correct) == ["Reds", "Blues"]
    for task in outcome.correct:
        np.testing.assert_array_equal(outcome.correct[task], expected.correct[task])
        np.testing.assert_allclose(outcome.divergence[task], expected.divergence[task], atol=1e-6)
    assert outcome.accuracy == pytest.approx(expected.mean_accuracy[0])
    assert outcome.interference == pytest.approx(expected.mean_interference[0], abs=1e-6)
    row = measured(outcome)
    assert (row["accuracy_low"], row["accuracy_high"]) == pytest.approx(expected.mean_accuracy[1])
    assert (row["interference_low"], row["interference_high"]) == pytest.approx(expected.mean_interference[1], abs=1e-6)
    assert outcome.n == expected.n


def test_means_and_spread_over_seeds_by_hand():
    def outcome(*correct: int) -> Outcomes:
        return made.outcomes({"a": np.array(correct[:2], bool), "b": np.array(correct[2:], bool)}, {"a": np.ones(2)})

    before = [outcome(0, 0, 0, 0)]
    after = [outcome(1, 1, 1, 0), outcome(1, 1, 0, 0), outcome(1, 1, 1, 1)]
    row = measured(*after)
    assert (row["accuracy"], row["accuracy_seed_low"], row["accuracy_seed_high"]) == (0.75, 0.5, 1.0)
    assert (row["seeds"], row["n"]) == (3, 4)
    # The mean over seeds gets a's images wholly right, b's by 2/3 and 1/3: task b's mean lies between these.
    assert row["accuracy_low"] >= (1 + 1 / 3) / 2 - 1e-9
    assert row["accuracy_high"] <= (1 + 2 / 3) / 2 + 1e-9
    change = changed(before, after)
    assert [change[f"gain{end}"] for end in ("", "_seed_low", "_seed_high")] == [0.75, 0.5, 1.0]
    assert change["interference_change"] == 0
    paired = changed(after[:2], after[1:])  # seed by seed: −1/4 and +1/2
    assert [paired[f"gain{end}"] for end in ("", "_seed_low", "_seed_high")] == [0.125, -0.25, 0.5]


def logits(evaluator: Evaluator, images: object, tasks: list[str], scale: float) -> torch.Tensor:
    """Naive: θ₀ + λ Στ put together here, heads stacked."""
    suite = evaluator.suite
    zero = vision_tower(suite.pretrained)
    vectors = suite.task_vectors()
    merged = {
        name: zero[name] + scale * sum(vectors.expert(name, task) - zero[name] for task in tasks) for name in zero
    }
    features = evaluator.encoder.features(merged, images)  # type: ignore[arg-type]
    return torch.cat([features @ evaluator.heads[task].weight.T for task in tasks], dim=1)


def test_one_classifier_over_all_labels(evaluator: Evaluator):
    tasks = ["Reds", "Greens"]
    recipe = evaluator.recipe("task-arithmetic", {"scale": 0.4}, tasks=tasks)
    outcome = Point(recipe, JOINT).compute(evaluator)
    for task, first in (("Reds", 0), ("Greens", 3)):  # Reds has three classes
        images = evaluator.suite.task_data(task)
        predicted = logits(evaluator, images, tasks, 0.4).argmax(dim=1).numpy()
        np.testing.assert_array_equal(outcome.correct[task], predicted == images.labels + first)
    assert outcome.divergence == {}


def test_left_out_and_unseen(evaluator: Evaluator):
    recipe = evaluator.recipe("task-arithmetic", {"scale": 0.0}, tasks=["Reds", "Greens"])
    left_out = Point(recipe, LEFT_OUT).compute(evaluator)
    assert list(left_out.correct) == ["Blues"]
    zero_shot = evaluator.measure(evaluator.recipe("task-arithmetic")).zero_shot_correct["Blues"]
    np.testing.assert_array_equal(left_out.correct["Blues"], zero_shot)
    unseen = Point(evaluator.recipe("task-arithmetic", {"scale": 1.0}, tasks=["Reds"]), UNSEEN).compute(evaluator)
    images = evaluator.suite.unseen_data("dim")
    predicted = logits(evaluator, images, ["Reds"], 1.0).argmax(dim=1).numpy()
    np.testing.assert_array_equal(unseen.correct["dim"], predicted == images.labels)
    np.testing.assert_allclose(unseen.divergence["dim"], 0, atol=1e-5)  # the merge is the expert


def test_auxiliary_images_have_no_labels(evaluator: Evaluator):
    outcome = Point(evaluator.recipe("ties"), "auxiliary:other", 16).compute(evaluator)
    assert outcome.correct == {}
    assert {task: len(values) for task, values in outcome.divergence.items()} == {"Reds": 16, "Greens": 16, "Blues": 16}
    with pytest.raises(InputError, match="kind of images"):
        Point(evaluator.recipe("ties"), "elsewhere").compute(evaluator)


def test_a_point_is_kept_as_it_is_measured(evaluator: Evaluator):
    point = Point(evaluator.recipe("ties"), limit=6)
    assert point.kept(evaluator) is None
    unknown = point.unknown(evaluator)
    outcome = point.compute(evaluator)
    assert {task: len(values) for task, values in unknown.correct.items()} == dict.fromkeys(outcome.correct, 6)
    kept = point.kept(Evaluator(evaluator.suite, evaluator.store.workspace, "cpu"))
    assert kept is not None
    for task in outcome.correct:
        np.testing.assert_array_equal(kept.correct[task], outcome.correct[task])
        np.testing.assert_array_equal(kept.divergence[task], outcome.divergence[task])


def test_what_a_worker_measured_is_kept(evaluator: Evaluator):
    point = Point(evaluator.recipe("ties"), limit=6)
    store = Store(evaluator.store.workspace, in_memory=True)
    found = point.compute(Evaluator(evaluator.suite, device="cpu", store=store))
    assert point.kept(evaluator) is None
    point.keep(evaluator, found, 1.5)
    kept = point.kept(evaluator)
    assert kept is not None
    assert kept.accuracy == found.accuracy
    [section, *_] = point.sections(evaluator)
    record = evaluator.store.record(
        f"{evaluator.measurement.name(point.request(evaluator).model, 'outcome', section)}:6"
    )
    assert record is not None
    assert record.seconds == 1.5
    assert json.loads(record.description) == {"suite": "tiny", "model": point.recipe.source, "section": "Reds"}
    assert "torch" in json.loads(record.versions)


def test_an_adaptation_is_made_once_and_stays_out_of_the_choices(evaluator: Evaluator):
    suite = evaluator.suite
    work = Adaptation("noise", ("Reds", "Greens"), (("steps", 2), ("batch", 8)), seed=3)
    assert work.kept(evaluator) is None
    stand_in = Point(evaluator.recipe("ties", tasks=work.tasks).with_experts(work.unknown(evaluator)))
    assert stand_in.kept(evaluator) is None
    [done] = here(evaluator, [work], None)
    assert done.result == work.kept(evaluator) == work.name(evaluator)
    assert suite.set_tasks(done.result) == ("Reds", "Greens")
    assert done.result not in suite.expert_sets
    folder = resolve(
        suite,
        auxiliary="noise",
        name="same",
        settings={"steps": 2, "batch": 8},
        tasks=("Reds", "Greens"),
        seed=3,
    )
    expected = (folder / "Reds.safetensors").read_bytes()
    assert (suite.resolved_set(done.result).directory / "Reds.safetensors").read_bytes() == expected
    assert Adaptation("noise", ("Reds",), (("steps", 2), ("batch", 8)), seed=3).name(evaluator) != done.result
    Point(evaluator.recipe("ties", tasks=work.tasks, experts=done.result)).compute(evaluator)


def test_what_depends_on_a_head_is_named_after_it(evaluator: Evaluator):
    point = Point(evaluator.recipe("averaging"), limit=4)
    run = Adaptation("noise", evaluator.suite.tasks)
    point.compute(evaluator)
    name = run.name(evaluator)
    other = Evaluator(evaluator.suite, evaluator.store.workspace, "cpu")
    assert point.kept(other) is not None
    changed = Evaluator(evaluator.suite, evaluator.store.workspace, "cpu")
    changed.heads["Reds"].weight.mul_(2.0)
    assert point.kept(changed) is None
    assert run.name(changed) != name


def test_a_merge_waits_for_all_experts_of_a_run_that_goes_on(evaluator: Evaluator):
    tasks = evaluator.suite.tasks
    run = Adaptation("noise", tasks, (("steps", 1),))
    recipe = evaluator.recipe("averaging").with_experts(run.name(evaluator))
    folder = evaluator.suite.resolved_set(run.name(evaluator)).directory
    folder.mkdir(parents=True)
    expert = evaluator.suite.expert("Reds").path
    (folder / "Reds.safetensors").write_bytes(expert.read_bytes())
    assert Point(recipe, limit=4).kept(evaluator) is None
