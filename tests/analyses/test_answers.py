from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from experts import noise, rotation, with_experts
from safetensors.torch import load_file
from tiny import TASKS

from ri_analysis.analyses.blocks import drift_by_block
from ri_analysis.analyses.contribution import contributions
from ri_analysis.analyses.drift import ANALYSIS as DRIFT
from ri_analysis.analyses.drift import drift_changes, measure_drift
from ri_analysis.analyses.geometry import weight_geometry
from ri_analysis.analyses.plane import pair_plane
from ri_analysis.analyses.report import as_json, chosen
from ri_analysis.encoder import Encoder, save_head
from ri_analysis.encoder.heads import Head
from ri_analysis.engine import Evaluator
from ri_analysis.engine.gram import task_vector_gram
from ri_analysis.engine.store import known
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.files import digest
from ri_analysis.json_text import to_json
from ri_analysis.measures.distances import DISTANCES
from ri_analysis.merging import MergeRecipe
from ri_analysis.sides import Sides
from ri_analysis.task_vectors import Layer, TaskVectors

FULL = {"scale": 1.0}


def test_kl_drift_is_the_evaluators_interference(evaluator: Evaluator) -> None:
    recipe = evaluator.recipe("ties", experts="ri")
    evaluation, drift = evaluator.measure(recipe), measure_drift(evaluator, recipe)
    for task in TASKS:
        assert drift.values("kl")[task] == pytest.approx(evaluation.divergence[task], abs=1e-5)
    images = drift.images("kl")
    wrong = images.groupby("task").outcome.apply(lambda each: each.isin(["lost", "wrong", "moved"]).mean())
    accuracy = evaluation.table.set_index("task").accuracy
    assert (1 - wrong)[list(TASKS)].tolist() == pytest.approx(accuracy[list(TASKS)].tolist())


def test_one_expert_alone_does_not_drift_by_any_distance(evaluator: Evaluator) -> None:
    recipe = evaluator.recipe("task-arithmetic", FULL, tasks=["Greens"])
    drift = measure_drift(evaluator, recipe)
    for name in DISTANCES:
        assert drift.table(name).drift.tolist() == pytest.approx([0], abs=1e-5)
    assert set(drift.images().outcome) <= {"kept", "wrong"}
    blocks = drift_by_block(evaluator, recipe)
    assert blocks.block.tolist() == [1, 2]
    assert blocks[["cka", "distance"]].to_numpy() == pytest.approx(0, abs=1e-5)


def test_identical_experts_merged_at_their_mean_do_not_drift(tiny: Path) -> None:
    evaluator = with_experts(tiny, lambda _, tensors: noise(tensors, 0.05, 1))
    recipe = evaluator.recipe("averaging")
    assert measure_drift(evaluator, recipe).table("cosine").drift.tolist() == pytest.approx([0] * 3, abs=1e-5)
    geometry = weight_geometry(evaluator)
    assert geometry.gram.cosine() == pytest.approx(1)
    assert geometry.collision[0, 1] > 0.5  # they use the very same singular directions


@pytest.fixture
def disjoint(tiny: Path) -> Evaluator:
    """Every task's head reads coordinates of its own, and each expert turns features within its own coordinates."""
    planes = {"Reds": (0, 1), "Greens": (2, 3), "Blues": (4, 5)}
    generator = torch.Generator().manual_seed(0)
    for task, classes in TASKS.items():
        weight = torch.zeros(classes, 16)
        weight[:, planes[task]] = 30 * torch.randn(classes, 2, generator=generator)
        head = Head(weight, tuple(str(index) for index in range(classes)))
        save_head(tiny.parent / f"head-{task}.safetensors", head)

    def turned(task: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return tensors | {"visual.proj": tensors["visual.proj"] @ rotation(16, *planes[task], 0.7)}

    return with_experts(tiny, turned)


def test_experts_on_disjoint_features_leave_each_other_alone(disjoint: Evaluator) -> None:
    recipe = disjoint.recipe("task-arithmetic", FULL)
    crosstalk = disjoint.crosstalk().set_index(["expert", "task"]).crosstalk
    assert crosstalk["Reds", "Greens"] == pytest.approx(0, abs=1e-5)
    assert crosstalk["Reds", "Reds"] > 0.01
    assert measure_drift(disjoint, recipe).table("kl").drift.tolist() == pytest.approx([0] * 3, abs=1e-5)
    table = contributions(disjoint, recipe)
    assert table[["left_out", "shapley"]].to_numpy() == pytest.approx(0, abs=1e-5)
    assert weight_geometry(disjoint).gram.cosine()[0, 1] == pytest.approx(0, abs=1e-6)
    plane = pair_plane(disjoint, ("Reds", "Blues"), alphas=(0.0, 1.0))
    assert plane.error.tolist() == [0] * 4


@pytest.fixture
def culprit(tiny: Path) -> Evaluator:
    """Blues' expert changes the second block so much that it alone disturbs the others."""
    sizes = {"Reds": 1e-4, "Greens": 1e-4, "Blues": 0.4}
    return with_experts(tiny, lambda task, tensors: noise(tensors, sizes[task], len(task), "resblocks.1."))


def test_contribution_block_and_flips_name_the_expert_that_was_scaled_up(culprit: Evaluator) -> None:
    recipe = culprit.recipe("task-arithmetic", FULL)
    table = contributions(culprit, recipe).set_index(["expert", "task"])
    for task in ("Reds", "Greens"):
        other = "Greens" if task == "Reds" else "Reds"
        assert table.share["Blues", task] == pytest.approx(1, abs=0.02)
        assert table.left_out["Blues", task] == pytest.approx(table.together["Blues", task], rel=0.02)
        assert abs(table.share[other, task]) < 0.02
        assert abs(table.shapley["Blues", "Reds"]) > 100 * abs(table.shapley["Greens", "Reds"])
    blocks = drift_by_block(culprit, recipe).set_index(["task", "block"])
    assert blocks.distance["Reds", 1] == pytest.approx(0, abs=1e-4)
    assert blocks.distance["Reds", 2] > 0.1
    assert blocks.cka["Reds", 2] > 100 * blocks.cka["Reds", 1]
    layers = weight_geometry(culprit).layers
    assert set(layers.block) == {2}
    images = measure_drift(culprit, recipe).images("kl")
    flips = images[images.expert_says != images.merged_says]
    assert set(flips.task) <= {"Reds", "Greens"}
    assert len(flips)
    without = culprit.recipe("task-arithmetic", FULL, tasks=["Reds", "Greens"])
    assert set(measure_drift(culprit, without).images().outcome) <= {"kept", "wrong"}


def test_shapley_values_share_what_the_others_cause(evaluator: Evaluator) -> None:
    table = contributions(evaluator, evaluator.recipe("task-arithmetic", FULL))
    assert table.exact.all()
    for _, rows in table.groupby("task"):
        caused = rows.together.iloc[0] - rows.alone.iloc[0]
        assert rows.shapley.sum() == pytest.approx(caused, abs=1e-6)
        assert rows.share.sum() == pytest.approx(1)
    # Two players: φ_i = ½ [v(i) − v(∅) + v(ij) − v(j)], here with v measured by the evaluator itself.
    drift = {
        tasks: evaluator.measure(evaluator.recipe("task-arithmetic", FULL, tasks=tasks)).divergence["Reds"].mean()
        for tasks in (("Reds",), ("Reds", "Greens"), ("Reds", "Blues"), tuple(TASKS))
    }
    by_hand = 0.5 * (
        drift["Reds", "Greens"] - drift["Reds",] + drift["Reds", "Greens", "Blues"] - drift["Reds", "Blues"]
    )
    row = table[(table.expert == "Greens") & (table.task == "Reds")].iloc[0]
    assert row.shapley == pytest.approx(by_hand, abs=1e-5)
    assert row.left_out == pytest.approx(drift["Reds", "Greens", "Blues"] - drift["Reds", "Blues"], abs=1e-5)
    sampled = contributions(evaluator, evaluator.recipe("task-arithmetic", FULL), exact_up_to=2, order_pairs=2)
    assert not sampled.exact.any()
    assert sampled.shapley.tolist() == pytest.approx(table.shapley.tolist(), abs=1e-6)  # both orders of two players


def test_contribution_needs_methods_that_merge_fewer(evaluator: Evaluator) -> None:
    with pytest.raises(InputError, match="slerp merges exactly 2"):
        contributions(evaluator, evaluator.recipe("slerp", tasks=["Reds", "Blues"]))
    with pytest.raises(InputError, match="at least two experts"):
        contributions(evaluator, evaluator.recipe("averaging", tasks=["Reds"]))


def test_the_plane_agrees_with_plain_forward_passes(evaluator: Evaluator) -> None:
    plane = pair_plane(evaluator, ("Reds", "Greens"), alphas=(0.0, 1.5)).set_index(["alpha_1", "alpha_2"])
    assert plane.error[0.0, 0.0] == 0
    suite, start = evaluator.suite, None
    start = {k: v for k, v in load_file(suite.pretrained.path).items() if k.startswith("visual.")}
    tau = {task: load_file(suite.expert(task).path) for task in ("Reds", "Greens")}
    joint = {k: v + 1.5 * (tau["Reds"][k] - v) + 1.5 * (tau["Greens"][k] - v) for k, v in start.items()}
    alone = {k: v + 1.5 * (tau["Reds"][k] - v) for k, v in start.items()}
    images, head = suite.task_data("Reds"), evaluator.heads["Reds"]
    first, second = (head.logits(evaluator.encoder.features(weights, images)).argmax(1) for weights in (alone, joint))
    assert plane.Reds[1.5, 1.5] == pytest.approx((first != second).float().mean().item())
    with pytest.raises(InputError, match="two different experts"):
        pair_plane(evaluator, ("Reds", "Reds"))


def test_block_tokens_are_those_of_the_tower(evaluator: Evaluator) -> None:
    start = {k: v for k, v in load_file(evaluator.suite.pretrained.path).items() if k.startswith("visual.")}
    images = evaluator.suite.task_data("Reds")
    tokens = evaluator.encoder.block_tokens_of_many(start, [(images, None), (images, [3, 4])])
    assert [tuple(part.shape) for part in tokens] == [(2, 24, 32), (2, 2, 32)]
    assert torch.allclose(tokens[0][:, 3:5], tokens[1], atol=1e-5)
    tower = evaluator.encoder.module
    with torch.no_grad():
        last = tower.ln_post(tokens[0][-1]) @ tower.proj
    features = evaluator.encoder.features(start, images)
    assert torch.allclose(torch.nn.functional.normalize(last, dim=1), features, atol=1e-5)


def test_answers_are_kept_and_cancelled_work_goes_on(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, seen = evaluator.recipe("task-arithmetic", FULL), list[tuple[int, int]]()

    def work(progress: object = None) -> None:
        for call in (measure_drift, drift_by_block, contributions):
            call(evaluator, recipe, progress=progress)  # type: ignore[operator]
        pair_plane(evaluator, ("Reds", "Blues"), alphas=(0.0, 1.0), progress=progress)  # type: ignore[arg-type]

    def cancel(done: int, total: int) -> None:
        if done > total / 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        contributions(evaluator, recipe, progress=cancel)
    assert not DRIFT.known(evaluator, recipe, {}, None)
    work(lambda done, total: seen.append((done, total)))
    assert all(done <= total for done, total in seen)
    assert seen[-1][0] == seen[-1][1]
    assert DRIFT.known(evaluator, recipe, {}, None)
    monkeypatch.setattr(Encoder, "features_of_many", lambda *_, **__: pytest.fail("computed again"))
    work()


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


def test_a_probe_is_seeded_and_nested(evaluator: Evaluator) -> None:
    recipe = evaluator.recipe("task-arithmetic", FULL)
    first, whole = measure_drift(evaluator, recipe, limit=6), measure_drift(evaluator, recipe)
    assert (first.full, first.n, whole.full, whole.n) == (False, 18, True, 72)
    both = first.images().merge(whole.images(), on=["task", "index"])
    assert np.allclose(both.drift_x, both.drift_y, atol=1e-5)
    assert len(both) == 18
    after = measure_drift(evaluator, recipe.with_experts("mild"))
    change = drift_changes(Sides(whole, after), "js")
    assert change is not None
    assert drift_changes(Sides(whole), "js") is None
    means = after.table("js").drift - whole.table("js").drift
    assert change.change.tolist() == pytest.approx(means.tolist(), abs=1e-6)


def report(evaluator: Evaluator, recipe: MergeRecipe, *, blame: bool = False) -> dict[str, Any]:
    answers = {each.name: each.ask(evaluator, Sides(recipe), limit=each.limit) for each in chosen((), blame=blame)}
    return json.loads(to_json(as_json(evaluator, Sides(recipe), answers, whole=False)))


def test_report_is_json_and_agrees_with_its_parts(evaluator: Evaluator) -> None:
    recipe = evaluator.recipe("averaging", experts="ri")
    found = report(evaluator, recipe, blame=True)
    crosstalk = evaluator.crosstalk("mild").set_index(["expert", "task"]).crosstalk
    off = [found["crosstalk"][one][two] for one in TASKS for two in TASKS if one != two]
    assert found["crosstalk"]["Reds"]["Blues"] == pytest.approx(crosstalk["Reds", "Blues"])
    assert found["crosstalk_off_diagonal_mean"] == pytest.approx(np.mean(off))
    assert len(found["drift_by_block"]) == 6
    assert set(found["drift"]) == set(DISTANCES)
    assert len(found["blame"]) == 6
    assert found["weight_space"]["cosine"]["Reds"]["Reds"] == pytest.approx(1)
    assert found["weight_space"]["cosine_with_crosstalk"]["pairs"] == 3
    assert report(evaluator, recipe)["blame"] is None
