from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from watching import watch

from ri_analysis.engine import Evaluator
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.merging import METHODS, merge
from ri_analysis.merging.method import Observed
from ri_analysis.merging.with_data.distilled import as_taught, distil, images_seen
from ri_analysis.studies.conducting.point import Point
from ri_analysis.suite import open_suite
from ri_analysis.training import descent, start, teachers
from ri_analysis.training.variants import Variants

TASKS = ("Reds", "Blues")
PLAIN = {"views": 1, "pool": 0, "schedule": "constant", "parameters": "all", "blocks": 1, "rank": 2}
SETTINGS = PLAIN | {"start": "tsv-m", "start_scale": 1.0, "steps": 9, "lr": 1e-3, "weight_decay": 0.1, "batch": 5}


def watched(evaluator: Evaluator, *tasks: str, experts: str = "original") -> Observed:
    images = dict.fromkeys(tasks, evaluator.suite.auxiliary_data("noise"))
    vectors = evaluator.suite.task_vectors(experts, tasks)
    return replace(watch(evaluator, *tasks), images=images, vectors=vectors)


def features(module: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(module(inputs), dim=-1)


def naive(observed: Observed, evaluator: Evaluator, recipe_start: str, moving: str, seed: int) -> torch.nn.Module:
    """The trained tower in float64, by torch's own AdamW and KL divergence, nothing computed ahead."""
    encoder, rate, source = observed.encoder, SETTINGS["lr"], next(iter(observed.images.values()))
    begun = merge(observed.vectors, evaluator.recipe(recipe_start, {"scale": 0.7}, tasks=observed.vectors.tasks))
    student, *teachers = (copy.deepcopy(encoder.module).double() for _ in range(1 + len(observed.vectors.tasks)))
    student.load_state_dict({name.removeprefix("visual."): tensor for name, tensor in begun})
    for task, teacher in zip(observed.vectors.tasks, teachers, strict=True):
        expert = {
            name.removeprefix("visual."): observed.originals.expert(name, task) for name in observed.vectors.names
        }
        teacher.load_state_dict(expert)
    moved = [item.requires_grad_() for name, item in student.named_parameters() if moving in name]
    optimizer = torch.optim.AdamW(moved, rate, weight_decay=SETTINGS["weight_decay"])
    generator, order = np.random.default_rng((seed,)), np.zeros(0, dtype=int)
    for _ in range(SETTINGS["steps"]):
        if len(order) < SETTINGS["batch"]:
            order = np.concatenate([order, generator.permutation(len(source))])
        rows, order = np.split(order, [SETTINGS["batch"]])
        inputs = encoder.preprocess(source.pixels(rows, 8)).double()
        loss = torch.zeros((), dtype=torch.float64)
        for task, teacher in zip(observed.vectors.tasks, teachers, strict=True):
            head = observed.heads[task].weight.double()
            with torch.no_grad():
                target = (features(teacher, inputs) @ head.T).log_softmax(dim=1)
            answer = (features(student, inputs) @ head.T).log_softmax(dim=1)
            loss = loss + torch.nn.functional.kl_div(answer, target, reduction="batchmean", log_target=True)
        optimizer.zero_grad()
        (loss / len(teachers)).backward()
        optimizer.step()
    return student


def moved(observed: Observed, found: dict[str, torch.Tensor], state: dict[str, torch.Tensor]) -> float:
    """How far what was found is from a tower's state: the norm over all tensors."""
    each = (
        found[f"visual.{name}"][0].double() - tensor + observed.vectors.pretrained(f"visual.{name}")
        for name, tensor in state.items()
        if f"visual.{name}" in found
    )
    return float(torch.cat([difference.flatten() for difference in each]).norm())


@pytest.mark.parametrize(("experts", "method"), [("original", "tsv-m"), ("mild", "task-arithmetic")])
@pytest.mark.parametrize(("parameters", "moving"), [("all", ""), ("attention", ".attn.")])
def test_agrees_with_plain_training(
    evaluator: Evaluator, experts: str, method: str, parameters: str, moving: str
) -> None:
    observed = watched(evaluator, *TASKS, experts=experts)
    given = SETTINGS | {"start": method, "start_scale": 0.7, "parameters": parameters, "seed": 4}
    found, expected = distil(observed, **given), naive(observed, evaluator, method, moving, 4).state_dict()
    begun = distil(observed, **given | {"steps": 0})
    assert moved(observed, found, expected) < 2e-3 * moved(observed, begun, expected)  # float32 against float64
    assert {name for name in found if not torch.equal(found[name], begun[name])} == {
        name for name in found if moving in name
    }


def test_tokens_in_files_and_the_last_blocks_alone_train_the_same_weights(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    observed = watched(evaluator, *TASKS)
    given = SETTINGS | {"parameters": "last-blocks", "seed": 4}
    found, begun = distil(observed, **given), distil(observed, **given | {"steps": 0})
    monkeypatch.setattr(start, "IN_MEMORY", 0)
    for name, tensor in distil(observed, **given).items():
        assert torch.equal(tensor, found[name])
    changed = {name for name in found if not torch.equal(found[name], begun[name])}
    assert all(".1." in name or "ln_post" in name or name == "visual.proj" for name in changed)
    assert any(".1.mlp" in name for name in changed)


@pytest.mark.parametrize(("method", "scale"), [("tsv-m", 0.0), ("ties", 0.7), ("iso-c", 1.5)])
def test_without_steps_it_is_the_merge_that_it_starts_from(evaluator: Evaluator, method: str, scale: float) -> None:
    recipe = evaluator.recipe("distilled", {"steps": 0, "start": method, "start_scale": scale})
    expected = evaluator.merged(evaluator.recipe(method, {"scale": scale or 2.0}))  # 0: twice TSV-M's default
    found = dict(evaluator.merged(recipe))
    for name, tensor in expected:
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6)


def test_it_starts_from_every_method_that_can_merge_so_and_hands_its_seed_on(evaluator: Evaluator) -> None:
    wanted = {name for name, method in METHODS.items() if not method.needs and method.counts == (1, None)}
    able = {name for name in wanted if "scale" in evaluator.recipe(name).settings}
    (declared,) = (item for item in METHODS["distilled"].hyperparameters if item.name == "start")
    assert set(declared.choices) == able
    given = {"steps": 0, "start": "dare", "start_scale": 0.3}
    found, other = (dict(evaluator.merged(evaluator.recipe("distilled", given, seed=seed))) for seed in (2, 3))
    for name, tensor in evaluator.merged(evaluator.recipe("dare", {"scale": 0.3}, seed=2)):
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6)
        if "mlp.c_fc.weight" in name:
            assert not torch.allclose(other[name], tensor)


def test_one_expert_goes_on_answering_what_it_does(evaluator: Evaluator) -> None:
    given = SETTINGS | {"start": "averaging", "start_scale": 1.0, "lr": 1e-6}  # AdamW also moves along rounding errors
    recipe = evaluator.recipe("distilled", given, tasks=["Greens"])
    assert evaluator.measure(recipe).mean_interference[0] < 1e-6
    begun = evaluator.recipe("distilled", given | {"start_scale": 0.9}, tasks=["Greens"])
    assert evaluator.measure(begun).mean_interference[0] > 1e-4


def test_what_it_learns_from_is_answered_more_like_the_experts(evaluator: Evaluator) -> None:
    def interference(steps: int) -> float:
        point = Point(evaluator.recipe("distilled", SETTINGS | {"steps": steps}), on="auxiliary:noise")
        return point.compute(evaluator).interference

    assert interference(40) < 0.5 * interference(0)


def test_a_pool_is_a_seeded_choice_of_the_views(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set[int]()
    pixels = Variants.pixels

    def noted(self: Variants, indices: np.ndarray, size: int) -> np.ndarray:
        seen.update(np.asarray(indices).tolist())
        return pixels(self, indices, size)

    monkeypatch.setattr(Variants, "pixels", noted)
    drawn = []
    for seed in (0, 0, 1):
        seen.clear()
        distil(watched(evaluator, *TASKS), **SETTINGS | {"views": 3, "pool": 7, "seed": seed})
        drawn.append(sorted(seen))
    assert len(drawn[0]) == 7
    assert drawn[0] == drawn[1] != drawn[2]
    assert max(drawn[0]) >= 32  # not only the images themselves


def test_progress_counts_every_teachers_images_and_the_steps(evaluator: Evaluator) -> None:
    seen = list[int]()
    distil(replace(watched(evaluator, *TASKS), seen=seen.append), **SETTINGS | {"seed": 0})
    assert seen == sorted(seen)
    assert seen[-1] == images_seen([32, 32], **SETTINGS) == 3 * 32 + 9 * 5
    assert images_seen([32] * 5, **SETTINGS | {"views": 2, "pool": 40, "steps": 3}) == 6 * 15 + 15
    assert images_seen([32] * 5, **SETTINGS | {"views": 2, "pool": 40}) == 6 * 40 + 45


@pytest.mark.parametrize("damaged", [False, True])
def test_a_stopped_run_resumes_where_it_was_and_begins_anew_where_its_state_is_damaged(
    evaluator: Evaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    monkeypatch.setattr(descent, "SAVE_SECONDS", -1.0)  # save after every step
    recipe, folder = evaluator.recipe("distilled", SETTINGS), evaluator.store.workspace / "statistics"
    other = Evaluator(evaluator.suite, tmp_path / "other", "cpu")

    def stop(done: int, total: int) -> None:
        if done > total - 12:
            raise Cancelled

    with pytest.raises(Cancelled):
        evaluator.statistics(recipe, stop)
    assert not evaluator.statistics_kept(recipe)
    (state,) = folder.glob("*.pt")
    assert 0 < torch.load(state, weights_only=True)["step"] < 9
    if damaged:
        data = bytearray(state.read_bytes())
        data[len(data) // 2] ^= 64
        state.write_bytes(data)
    resumed, whole = dict(evaluator.merged(recipe)), dict(other.merged(recipe))
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())
    assert evaluator.statistics_kept(recipe)
    assert [path.suffixes[-1] for path in sorted(folder.iterdir())] == [".safetensors", ".lock", ".seal"]
    (kept,) = folder.glob("*.safetensors")
    assert {tensor.dtype for tensor in load_file(kept).values()} == {torch.float32}


def test_only_auxiliary_images_play_a_part(evaluator: Evaluator, tiny: Path, tmp_path: Path) -> None:
    recipe = evaluator.recipe("distilled", SETTINGS)
    expected = dict(evaluator.merged(recipe))
    for path in tiny.parent.glob("*-validation.npz"):
        path.unlink()
    lines = [line for line in tiny.read_text().splitlines() if not line.startswith("validation")]
    tiny.write_text("\n".join(lines))
    other = Evaluator(open_suite(str(tiny)), tmp_path / "other", "cpu")
    assert other.digest(recipe) == evaluator.digest(recipe)
    found = dict(other.merged(recipe))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_names_change_with_the_auxiliary_images_and_the_original_experts(evaluator: Evaluator, tiny: Path) -> None:
    recipe, names = evaluator.recipe("distilled", experts="mild"), set[str]()
    names.add(evaluator.digest(recipe))
    tiny.write_text(tiny.read_text().replace("seed = 3", "seed = 4"))
    names.add(Evaluator(open_suite(str(tiny)), evaluator.store.workspace, "cpu").digest(recipe))
    original = tiny.parent / "original" / "Reds.safetensors"
    original.write_bytes((tiny.parent / "original" / "Greens.safetensors").read_bytes())
    names.add(Evaluator(open_suite(str(tiny)), evaluator.store.workspace, "cpu").digest(recipe))
    assert len(names) == 3


def test_a_suite_without_auxiliary_images_is_named(evaluator: Evaluator, tiny: Path) -> None:
    start, end = tiny.read_text().index("[[auxiliary]]"), tiny.read_text().index("[[unseen]]")
    tiny.write_text(tiny.read_text()[:start] + tiny.read_text()[end:])
    other = Evaluator(open_suite(str(tiny)), evaluator.store.workspace, "cpu")
    with pytest.raises(InputError, match=r"suite\.toml: expected an \[\[auxiliary\]\] source, found none"):
        other.measure(other.recipe("distilled"))


@pytest.mark.parametrize(("large", "rate"), [(False, r"0\.0002"), (True, "5e-06")])
def test_a_loss_that_overflows_is_one_message_with_the_rate_for_the_towers_size(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch, large: bool, rate: str
) -> None:
    monkeypatch.setattr(type(evaluator.architecture), "large", large)
    monkeypatch.setattr(teachers, "taught", lambda *_, **__: lambda adapted, _: (adapted.sum() * torch.nan,))
    with pytest.raises(InputError, match=rf"step 1 is not a finite number; choose a smaller .* than lr = {rate},"):
        evaluator.measure(evaluator.recipe("distilled", SETTINGS | {"lr": 0.0}))


def test_what_is_kept_stays_as_it_is(evaluator: Evaluator) -> None:
    layer = next(evaluator.task_vectors().walk())
    kept = torch.ones(1, *layer.pretrained.shape)
    as_taught(layer, statistics=list(kept)).zero_()  # a merge is added up in place
    assert kept.all()
