"""Statistics of task images: computed once, kept in the workspace, and never of test images."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ri_analysis.analyses.drift import measure_drift
from ri_analysis.cli import main
from ri_analysis.engine import Evaluator
from ri_analysis.engine.task_statistics import TaskStatistics
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.merging import METHODS
from ri_analysis.suite import open_suite

SETTINGS = {
    "fisher": {"images": 4},
    "regmean": {"images": 4},
    "regmean-plusplus": {"images": 4},
    "adamerging": {"steps": 2, "batch": 3},
    "nsc": {"steps": 2, "batch": 3, "rank": 2},
    "distilled": {"steps": 2, "batch": 3, "views": 1},
}
COST = {"fisher": 12, "regmean": 12, "regmean-plusplus": 24, "adamerging": 18, "nsc": 18, "distilled": 4 * 6 + 6}
methods = pytest.mark.parametrize("method", SETTINGS)
of_tasks = pytest.mark.parametrize("method", [name for name in SETTINGS if METHODS[name].needs == "task data"])


def files(evaluator: Evaluator) -> set[Path]:
    return set((evaluator.store.workspace / "statistics").glob("*.safetensors"))


@methods
def test_measured_once_and_kept(method: str, evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, seen = evaluator.recipe(method, SETTINGS[method]), []
    first = evaluator.measure(recipe, progress=lambda *step: seen.append(step))
    encoded = 3 * 72  # through the experts, the pretrained and the merged model
    assert seen == sorted(seen)
    assert seen[-1] == (COST[method] + encoded,) * 2
    assert (COST[method], COST[method] + encoded) in seen
    monkeypatch.setattr("ri_analysis.engine.task_statistics.TaskStatistics._compute", None)
    again = Evaluator(evaluator.suite, evaluator.store.workspace, "cpu")
    assert again.kept(recipe)
    assert again.measure(recipe).summary() == first.summary()
    scaled = again.measure(again.recipe(method, SETTINGS[method] | {"scale": 0.5}))  # λ is no part of a statistic
    assert scaled.mean_interference != first.mean_interference
    assert again.merged(recipe)


@methods
def test_all_doors_give_the_same_model(method: str, evaluator: Evaluator, tiny: Path, tmp_path: Path) -> None:
    recipe = evaluator.recipe(method, SETTINGS[method], experts="mild")
    out, options = tmp_path / "merged.safetensors", [f"--set={k}={v}" for k, v in SETTINGS[method].items()]
    workspace = ["--workspace", str(evaluator.store.workspace)]
    arguments = [str(tiny), "--method", method, "--experts", "ri", *options, *workspace, "--device", "cpu"]
    assert main(["merge", *arguments, "--out", str(out)]) == 0
    merged = dict(evaluator.merged(recipe))
    stored = load_file(out)
    assert all(torch.equal(stored[name], tensor) for name, tensor in merged.items())
    measured, file = evaluator.measure(recipe), evaluator.measure_file(out)
    assert measured.table["interference"].tolist() == file.table["interference"].tolist()
    drift = measure_drift(evaluator, recipe).table()
    np.testing.assert_allclose(drift["drift"], measured.table["interference"], rtol=1e-4, atol=1e-7)
    first = out.read_bytes()
    assert main(["merge", *arguments, "--out", str(out)]) == 0
    assert out.read_bytes() == first


def test_experts_seen_before_serve_another_merge(evaluator: Evaluator) -> None:
    evaluator.statistics(evaluator.recipe("fisher", SETTINGS["fisher"], tasks=["Reds", "Blues"]))
    assert len(files(evaluator)) == 2
    seen: list[tuple[int, int]] = []
    evaluator.statistics(evaluator.recipe("fisher", SETTINGS["fisher"]), lambda *step: seen.append(step))
    assert seen[-1] == (4, 4)
    assert len(files(evaluator)) == 3


def test_a_cancelled_run_keeps_the_experts_it_finished(evaluator: Evaluator) -> None:
    recipe = evaluator.recipe("fisher", SETTINGS["fisher"])

    def stop(done: int, total: int) -> None:
        if done > 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        evaluator.measure(recipe, progress=stop)
    assert len(files(evaluator)) == 1
    seen: list[tuple[int, int]] = []
    evaluator.statistics(recipe, lambda *step: seen.append(step))
    assert seen[-1] == (8, 8)


@of_tasks
def test_names_change_with_all_a_merge_is_made_of(method: str, evaluator: Evaluator, tiny: Path) -> None:
    recipe = evaluator.recipe(method)
    names = {evaluator.digest(recipe), evaluator.digest(recipe.with_experts("mild"))}
    path = tiny.parent / "Blues-validation.npz"
    with np.load(path) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    images[0] ^= 1
    np.savez_compressed(path, images=images, labels=labels)
    other = Evaluator(open_suite(str(tiny)), evaluator.store.workspace, "cpu")
    names.add(other.digest(recipe))
    assert len(names) == 3
    assert other.digest(other.recipe("ties")) == evaluator.digest(evaluator.recipe("ties"))


def test_what_another_session_computes_is_awaited_and_not_computed_again(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute, computed, begun, awaited = TaskStatistics._compute, list[Path](), Event(), Event()

    def slowly(self: TaskStatistics, *arguments: Any) -> None:
        computed.append(arguments[3])
        begun.set()
        assert awaited.wait(30)
        compute(self, *arguments)

    monkeypatch.setattr(TaskStatistics, "_compute", slowly)
    recipe = evaluator.recipe("distilled", SETTINGS["distilled"])
    other = Evaluator(evaluator.suite, evaluator.store.workspace, "cpu")
    with ThreadPoolExecutor(2) as sessions:
        first = sessions.submit(evaluator.statistics, recipe)
        assert begun.wait(30)
        sessions.submit(other.statistics, recipe, lambda *_: awaited.set()).result()
        first.result()
    assert len(computed) == 1


def test_labels_and_test_images_play_no_part(evaluator: Evaluator, tiny: Path, tmp_path: Path) -> None:
    recipe = evaluator.recipe("regmean", SETTINGS["regmean"])
    expected = dict(evaluator.merged(recipe))
    for path in tiny.parent.glob("*.npz"):
        with np.load(path) as arrays:
            if "labels" in arrays:
                split = path.stem.rpartition("-")[2]
                images = arrays["images"] if split == "validation" else 255 - arrays["images"]
                np.savez_compressed(path, images=images, labels=np.roll(arrays["labels"], 1))
    other = Evaluator(open_suite(str(tiny)), tmp_path / "other", "cpu")
    found = dict(other.merged(recipe))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@of_tasks
def test_a_task_without_validation_images_is_named(method: str, evaluator: Evaluator, tiny: Path) -> None:
    tiny.write_text(tiny.read_text().replace('validation = "Greens-validation.npz"\n', ""))
    other = Evaluator(open_suite(str(tiny)), evaluator.store.workspace, "cpu")
    with pytest.raises(InputError, match=f"{method} learns from unlabelled validation images: .*'Greens' has no"):
        other.measure(other.recipe(method))


def test_methods_say_which_images_they_need(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    needy, auxiliary = (
        {item["name"] for item in described if item[f"needs_{kind}"]} for kind in ("task_data", "auxiliary_images")
    )
    assert auxiliary == {"distilled"}
    assert needy | auxiliary == set(SETTINGS) == {name for name in METHODS if METHODS[name].statistic is not None}
    assert main(["methods"]) == 0
    said = capsys.readouterr().out
    assert said.count("Needs task data: unlabelled validation images of every task.") == len(needy) == 5
    assert said.count("Needs auxiliary images: unlabelled images of the source that RI uses.") == 1
