from __future__ import annotations

import json
import weakref
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from random_experts import WITHOUT_DATA, task_vectors
from safetensors.torch import load_file, save_file

from ri_analysis.checkpoints import read_checkpoint, read_metadata, vision_tower
from ri_analysis.errors import InputError
from ri_analysis.merging import MergeRecipe, merge, merge_to_file, recipe_of
from ri_analysis.task_vectors import Layer, TaskVectors

WEIGHTS = {"pretrained": "0", "a": "1", "b": "2", "c": "3"}


@pytest.mark.parametrize("method", WITHOUT_DATA)
def test_the_file_s_own_recipe_gives_the_same_bytes(method: str, tmp_path: Path) -> None:
    vectors = task_vectors(count=2)
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    merge_to_file(vectors, MergeRecipe.of(method, ("b", "a"), seed=3), first, ingredients=WEIGHTS)
    merge_to_file(vectors, recipe_of(first), second, ingredients=WEIGHTS)
    assert first.read_bytes() == second.read_bytes()


def test_the_file_holds_the_merge_and_says_how_it_was_made(tmp_path: Path) -> None:
    vectors, path = task_vectors(), tmp_path / "new" / "merged.safetensors"
    recipe = MergeRecipe.of("ties", vectors.tasks, {"scale": 0.4}, coefficients={"b": -1.5}, lines=(0.5, 1.0))
    progress: list[tuple[int, int]] = []
    merge_to_file(
        vectors,
        recipe,
        path,
        ingredients=WEIGHTS | {"other": "9"},
        metadata={"suite": "tiny"},
        progress=lambda done, total: progress.append((done, total)),
    )
    stored = load_file(path)
    expected = dict(merge(vectors, recipe))
    assert stored.keys() == expected.keys()
    assert all(torch.equal(stored[name], expected[name]) for name in expected)
    assert vision_tower(read_checkpoint(path)).keys() == expected.keys()
    assert progress == [(n, 21) for n in range(1, 22)]  # seven tensors, in two passes for the thresholds and one more
    metadata = read_metadata(path)
    assert recipe_of(path) == recipe
    assert json.loads(metadata["ingredients"]) == WEIGHTS
    assert metadata["digest"] == recipe.digest(WEIGHTS)
    assert metadata["suite"] == "tiny"
    assert metadata["format"] == "pt"


def test_half_precision_and_integer_buffers(tmp_path: Path) -> None:
    path = tmp_path / "merged.safetensors"
    merge_to_file(task_vectors(), MergeRecipe.of("averaging", ("a", "b")), path, dtype=torch.bfloat16)
    stored = load_file(path)
    assert stored.pop("visual.steps").dtype == torch.int64
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}


def test_values_that_half_precision_cannot_hold_are_refused(tmp_path: Path) -> None:
    vectors = TaskVectors({"visual.w": torch.zeros(2)}, {"a": {"visual.w": torch.tensor([1.0, 30_000.0])}})
    recipe = MergeRecipe.of("task-arithmetic", ("a",), {"scale": 5})
    with pytest.raises(InputError, match=r"tensor 'visual\.w' must be finite as F16, found 1 "):
        merge_to_file(vectors, recipe, tmp_path / "merged.safetensors", dtype=torch.float16)
    assert not list(tmp_path.iterdir())


def test_a_failed_merge_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "merged.safetensors"
    path.write_bytes(b"old")
    broken = TaskVectors(
        {"visual.v": torch.zeros(2), "visual.w": torch.zeros(2)},
        {"a": {"visual.v": torch.ones(2), "visual.w": torch.tensor([1.0, float("nan")])}},
    )
    with pytest.raises(InputError, match=r"a: tensor 'visual\.w' must be finite"):
        merge_to_file(broken, MergeRecipe.of("averaging", ("a",)), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("metadata", [{}, {"recipe": "{"}, {"recipe": "[1]"}, {"recipe": '{"method": "ties"}'}])
def test_a_file_without_a_recipe_says_so(metadata: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"visual.w": torch.zeros(2)}, path, metadata)
    with pytest.raises(InputError, match=r"other\.safetensors"):
        recipe_of(path)


@pytest.mark.parametrize("method", WITHOUT_DATA)
def test_one_layer_of_all_experts_is_in_memory_at_a_time(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, most = TaskVectors.layer, 0
    stacks: list[weakref.ref[object]] = []

    def tracked(self: TaskVectors, name: str, coefficients: Mapping[str, float]) -> Layer:
        nonlocal most
        layer = read(self, name, coefficients)
        memory = layer.deltas.numpy().copy()  # lives as long as any tensor that looks into it
        stacks.append(weakref.ref(memory))
        most = max(most, sum(stack() is not None for stack in stacks))
        return Layer(name, layer.pretrained, torch.from_numpy(memory))

    monkeypatch.setattr(TaskVectors, "layer", tracked)
    vectors = task_vectors(count=2)
    merge_to_file(vectors, MergeRecipe.of(method, vectors.tasks), tmp_path / "merged.safetensors")
    assert len(stacks) >= 7
    assert most <= 2  # the one being merged while the next is read
