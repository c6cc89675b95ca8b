from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import TASKS

from ri_analysis.encoder import Encoder
from ri_analysis.engine import (
    Comparison,
    Evaluation,
    Evaluator,
    Store,
    accuracy_change,
    check_suite,
    interference_change,
    pick_device,
)
from ri_analysis.engine.merged_vectors import FEW, MergedVectors
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.merging import merge
from ri_analysis.suite import open_suite


def naive_logits(evaluator: Evaluator, weights: dict[str, torch.Tensor], task: str) -> torch.Tensor:
    """Logits by a plain forward pass of an own tower, without the engine."""
    tower = evaluator.architecture.build().visual
    tower.load_state_dict({key.removeprefix("visual."): value for key, value in weights.items()})
    images = evaluator.suite.task_data(task)
    pixels = torch.tensor(images.pixels(range(len(images)), 8)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        features = tower(pixels)
    return features / features.norm(dim=1, keepdim=True) @ evaluator.heads[task].weight.T


def test_an_evaluation_agrees_with_plain_forward_passes(evaluator: Evaluator) -> None:
    recipe = evaluator.recipe("task-arithmetic", {"scale": 0.7}, experts="ri", coefficients={"Greens": -0.5})
    evaluation = evaluator.measure(recipe)
    suite = evaluator.suite
    pretrained = {k: v for k, v in load_file(suite.pretrained.path).items() if k.startswith("visual.")}
    mild = {task: load_file(suite.expert(task, "mild").path) for task in TASKS}
    factor = {"Reds": 0.7, "Greens": -0.35, "Blues": 0.7}
    merged = {k: v + sum(factor[t] * (mild[t][k] - v) for t in TASKS) for k, v in pretrained.items()}
    for row in evaluation.table.itertuples():
        original = naive_logits(evaluator, load_file(suite.expert(row.task).path), row.task).log_softmax(1)
        logits = naive_logits(evaluator, merged, row.task).log_softmax(1)
        drift = (original.exp() * (original - logits)).sum(1).mean().item()
        labels = torch.tensor(suite.task_data(row.task).labels)
        assert row.interference == pytest.approx(drift, rel=1e-4, abs=1e-6)
        assert row.accuracy == pytest.approx((logits.argmax(1) == labels).float().mean().item())
        assert row.expert_accuracy == pytest.approx((original.argmax(1) == labels).float().mean().item())
        zero_shot = naive_logits(evaluator, pretrained, row.task)
        assert row.zero_shot_accuracy == pytest.approx((zero_shot.argmax(1) == labels).float().mean().item())


def test_one_original_expert_alone_does_not_interfere(evaluator: Evaluator) -> None:
    evaluation = evaluator.measure(evaluator.recipe("task-arithmetic", {"scale": 1}, tasks=["Greens"]))
    assert evaluation.table.task.tolist() == ["Greens"]
    assert evaluation.mean_interference[0] == pytest.approx(0, abs=1e-6)
    assert evaluation.mean_normalised_accuracy == 1
    low, high = evaluation.normalised_accuracy_interval
    assert low < 1 < high


def test_interference_refers_to_the_original_expert_after_ri_too(evaluator: Evaluator) -> None:
    evaluation = evaluator.measure(evaluator.recipe("task-arithmetic", {"scale": 1}, experts="mild", tasks=["Reds"]))
    assert evaluation.mean_interference[0] > 1e-4  # the adapted expert is not the original one


def test_crosstalk_agrees_with_plain_forward_passes(evaluator: Evaluator) -> None:
    table = evaluator.crosstalk().set_index(["expert", "task"]).crosstalk
    suite = evaluator.suite
    pretrained = {k: v for k, v in load_file(suite.pretrained.path).items() if k.startswith("visual.")}
    base = naive_logits(evaluator, pretrained, "Blues").log_softmax(1)
    moved = naive_logits(evaluator, load_file(suite.expert("Reds").path), "Blues").log_softmax(1)
    assert table["Reds", "Blues"] == pytest.approx((base.exp() * (base - moved)).sum(1).mean().item(), rel=1e-3)
    assert len(table) == 9


def test_answers_are_kept_and_names_cover_all_they_depend_on(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = evaluator.recipe("ties")
    first = evaluator.measure(recipe)
    crosstalk = evaluator.crosstalk()
    again = Evaluator(open_suite(str(evaluator.suite.spec.path)), evaluator.store.workspace, "cpu")
    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "features_of_many", lambda *_, **__: pytest.fail("computed again"))
        assert again.measure(again.recipe("ties")).table.equals(first.table)
        assert again.crosstalk().equals(crosstalk)
    path = again.suite.expert("Reds").path
    save_file({key: value * 1.5 for key, value in load_file(path).items()}, path)
    changed = Evaluator(open_suite(str(evaluator.suite.spec.path)), evaluator.store.workspace, "cpu")
    assert not changed.measure(changed.recipe("ties")).table.equals(first.table)


def test_a_probe_is_part_of_the_whole(evaluator: Evaluator) -> None:
    recipe = evaluator.recipe("averaging")
    probe, full = evaluator.measure(recipe, limit=6), evaluator.measure(recipe)
    assert (probe.full, probe.n, full.full, full.n) == (False, 18, True, 72)
    for task in TASKS:
        assert np.isin(np.round(probe.divergence[task], 5), np.round(full.divergence[task], 5)).all()


def test_progress_counts_up_and_may_cancel(evaluator: Evaluator) -> None:
    seen: list[tuple[int, int]] = []
    evaluator.crosstalk(limit=6, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (72, 72)  # the pretrained model's too
    assert seen == sorted(seen)
    recipe = evaluator.recipe("task-arithmetic")
    assert not evaluator.kept(recipe)
    seen.clear()
    evaluator.measure(recipe, progress=lambda done, total: seen.append((done, total)))
    # 72 images through their experts, the pretrained and the merged model; the pretrained one knows 18 already.
    assert seen[-1] == (198, 198)
    assert seen == sorted(seen)
    assert evaluator.kept(recipe)

    def cancel(done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        evaluator.measure(evaluator.recipe("averaging"), progress=cancel)
    assert evaluator.measure(evaluator.recipe("averaging")).full  # nothing is left locked


def test_somebody_elses_merge_gives_the_recipes_numbers(evaluator: Evaluator, tmp_path: Path) -> None:
    recipe = evaluator.recipe("averaging")
    save_file(dict(merge(evaluator.suite.task_vectors(), recipe)), tmp_path / "merged.safetensors")
    measured = evaluator.measure_file(tmp_path / "merged.safetensors")
    assert measured.table.equals(evaluator.measure(recipe).table)


def test_unfit_recipes(evaluator: Evaluator) -> None:
    with pytest.raises(InputError, match="unknown task"):
        evaluator.recipe("averaging", tasks=["Pinks"])
    (evaluator.suite.spec.path.parent / "resolved" / "mild" / "Reds.safetensors").unlink()
    with pytest.raises(InputError, match="expert set 'mild' has no expert for task 'Reds'"):
        evaluator.recipe("averaging", tasks=["Reds"], experts="ri")
    assert evaluator.recipe("averaging", experts="ri").tasks == ("Greens", "Blues")


def test_nan_weights_are_named_and_nothing_is_kept(evaluator: Evaluator) -> None:
    path = evaluator.suite.task("Greens").expert
    tensors = load_file(path)
    tensors["visual.ln_post.bias"][3] = float("nan")
    save_file(tensors, path)
    with pytest.raises(
        InputError, match=r"Greens\.safetensors: tensor 'visual\.ln_post\.bias' must be finite, found 1"
    ):
        evaluator.measure(evaluator.recipe("averaging"))


def test_devices() -> None:
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type in ("cpu", "cuda")
    with pytest.raises(InputError, match="--device"):
        pick_device("abacus")


def test_a_workspace_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="workspace"):
        Store(tmp_path / "file")


def test_a_store_that_another_process_is_making_is_waited_for(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "store.sqlite", check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    waiting = threading.Timer(0.2, other.close)
    waiting.start()
    store = Store(tmp_path)
    store.put("k", {"a": np.arange(3)})
    store.close()
    waiting.join()


def test_the_store_keeps_the_first_answer(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("k", {"a": np.arange(3)})
    store.put("k", {"a": np.arange(4)})
    other = Store(tmp_path)
    found = other.get("k")
    assert found is not None
    assert found["a"].tolist() == [0, 1, 2]
    assert other.get("none") is None
    store.close()


def test_check_passes_a_good_suite(tiny: Path) -> None:
    report = check_suite(str(tiny))
    assert report.findings == []
    assert any("parameters in the vision tower" in line for line in report.passed)


def test_check_finds_everything_at_once(tiny: Path) -> None:
    folder = tiny.parent
    (folder / "original" / "Reds.safetensors").unlink()
    whole = (folder / "original" / "Greens.safetensors").read_bytes()
    (folder / "original" / "Greens.safetensors").write_bytes(whole[: len(whole) // 2])
    (folder / "Blues.txt").write_text("only one\n")
    (folder / "unseen.npz").write_bytes(b"")
    findings = "\n".join(map(str, check_suite(str(tiny)).findings))
    for word in ("Reds.safetensors", "Greens.safetensors", "2 classes, the class names are 1", "unseen.npz"):
        assert word in findings


def test_what_to_do_is_about_the_file_that_is_wrong(tiny: Path) -> None:
    remedies = {
        "Reds-test.npz": "in [[task]] 'Reds', correct 'data' or 'validation'",
        "head-Blues.safetensors": "in [[task]] 'Blues', set 'head', or 'classes' with 'templates', to the same "
        "classes as the data",
    }
    for name in remedies:
        (tiny.parent / name).write_bytes(b"")
    found = check_suite(str(tiny), device="cpu").findings
    assert {Path(item.problem.split(":")[0]).name: item.remedy for item in found} == remedies


def test_a_file_beside_a_folder_whose_name_it_begins_with_is_not_in_it(tiny: Path) -> None:
    (tiny.parent / "head-Blues.safetensors").write_bytes(b"")
    images = tiny.parent / "head-Blues" / "blues 0"
    images.mkdir(parents=True)
    tiny.write_text(tiny.read_text().replace('"Blues-test.npz"', '"head-Blues"'))
    remedies = [
        str(item.remedy) for item in check_suite(str(tiny), device="cpu").findings if "safetensors" in item.problem
    ]
    assert remedies == [
        "in [[task]] 'Blues', set 'head', or 'classes' with 'templates', to the same classes as the data"
    ]


def test_a_file_that_changes_during_the_check_is_to_be_checked_later(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ri_analysis.engine import check

    before = check.check_fit

    def changing(*arguments: object) -> None:
        os.utime(tiny.parent / "pretrained.safetensors", (1, 1))
        before(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(check, "check_fit", changing)
    said = [str(finding) for finding in check_suite(str(tiny), device="cpu").findings]
    changed = f"{tiny.parent / 'pretrained.safetensors'}: changed since it was opened; open the suite again"
    assert f"{changed}; check again when nothing is writing to it" in said


def test_check_reports_an_unreadable_file(tmp_path: Path) -> None:
    assert "expected a suite file" in check_suite(str(tmp_path / "x.toml")).findings[0].problem
    (tmp_path / "suite.toml").write_text("[model]\n")
    assert len(check_suite(str(tmp_path)).findings) >= 2


def test_changes_are_paired(evaluator: Evaluator) -> None:
    before = evaluator.measure(evaluator.recipe("task-arithmetic", {"scale": 1.0}))
    after = evaluator.measure(evaluator.recipe("task-arithmetic", {"scale": 1.0}, experts="ri"))
    change = interference_change(before, after)
    assert change.value == pytest.approx(after.mean_interference[0] - before.mean_interference[0], abs=1e-6)
    assert change.interval.low < change.value < change.interval.high
    assert accuracy_change(before, before) == (0.0, (0.0, 0.0))
    with pytest.raises(ValueError, match="same tasks and images"):
        accuracy_change(before, evaluator.measure(evaluator.recipe("averaging", tasks=["Reds"])))


@pytest.mark.parametrize("budget", [0, 1 << 30])
def test_a_kept_direction_gives_the_merges_very_bits(evaluator: Evaluator, budget: int) -> None:
    directions, vectors = MergedVectors(budget), evaluator.suite.task_vectors("mild")
    weights = evaluator.suite.weight_digests("mild")
    for method in ("ties", "averaging", "task-arithmetic"):
        for scale in (0.5, -1.25):
            recipe = evaluator.recipe(method, {"scale": scale}, experts="ri", coefficients={"Reds": 0.5})
            expected = dict(merge(vectors, recipe))
            for name, tensor in directions.merged(vectors, recipe, weights):
                assert torch.equal(tensor, expected[name])


def test_kept_directions_stay_within_the_budget(evaluator: Evaluator) -> None:
    vectors, weights = evaluator.suite.task_vectors(), evaluator.suite.weight_digests()
    directions = MergedVectors(int(2.5 * 4 * vectors.size))
    for density in (0.1, 0.2, 0.3, 0.4):
        recipe = evaluator.recipe("ties", {"density": density})
        dict(directions.merged(vectors, recipe, weights))
    assert len(directions._kept) == 2


def test_another_activation_is_another_answer(evaluator: Evaluator) -> None:
    recipe = evaluator.recipe("averaging")
    first = evaluator.measure(recipe)
    path = evaluator.suite.spec.path.parent / "model.json"
    path.write_text(path.read_text().replace('"embed_dim"', '"quick_gelu": true, "embed_dim"'))
    other = Evaluator(open_suite(str(evaluator.suite.spec.path)), evaluator.store.workspace, "cpu")
    assert not other.kept(recipe)
    assert other.measure(recipe).mean_interference != first.mean_interference


def test_measuring_many_coefficients_keeps_the_merges_of_a_few(evaluator: Evaluator):
    tasks = evaluator.suite.tasks
    for number in range(2 * FEW):
        evaluator.measure(evaluator.recipe("task-arithmetic", coefficients={tasks[0]: number / 10}), limit=2)
    assert len(evaluator._merged_vectors._kept) == FEW


def made_up(correct: list[int], expert: list[int]) -> Evaluation:
    flags, ceiling = np.array(correct, bool), np.array(expert, bool)
    return Evaluation(
        "made up", {}, {"a": flags}, {"a": ceiling}, {"a": flags}, {"a": np.zeros(len(flags), np.float32)}
    )


def test_the_change_of_normalised_accuracy_is_paired_and_by_the_experts_accuracy() -> None:
    before, after = made_up([0, 0, 1, 1], [1, 1, 0, 0]), made_up([1, 1, 1, 1], [1, 1, 0, 0])
    assert before.mean_normalised_accuracy == 1  # 2 of 4 over the expert's 2 of 4
    change = Comparison(before, after).normalised_accuracy_change
    assert change is not None
    assert change.value == 1
    assert not change.clear  # four images, of which a resample may hold only the two that are right both times
    assert Comparison(before, before).normalised_accuracy_change == (0, (0, 0))
    assert Comparison(before).normalised_accuracy_change is None


def test_without_an_expert_that_is_ever_right_nothing_is_normalised() -> None:
    never = made_up([1, 0], [0, 0])
    assert Comparison(never, never).normalised_accuracy_change is None
    assert np.isnan(never.normalised_accuracy_interval.low)
