from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plain import plain_run
from safetensors.torch import load_file
from tiny import without_keys

from ri_analysis.encoder import Encoder, architecture, architecture_of, products
from ri_analysis.errors import InputError
from ri_analysis.memory import VARIABLE
from ri_analysis.resolving import Losses, resolve
from ri_analysis.suite import Suite, open_suite
from ri_analysis.training import descent, parameters, parts, precision, start
from ri_analysis.training.parameters import LowRank, trained_weights

pytestmark = pytest.mark.long

QUICK = {"steps": 8, "lr": 1e-3, "batch": 16}
TASK = "Reds"
EMBEDDINGS = ("conv1", "class_embedding", "positional_embedding", "ln_pre")
# the setting, and which weights a plain reading of it trains
CHOICES: dict[str, tuple[dict[str, Any], Callable[[str, torch.Tensor], bool]]] = {
    "all": ({}, lambda name, tensor: True),
    "matrices": ({"parameters": "matrices"}, lambda name, tensor: tensor.ndim == 2),
    "attention": ({"parameters": "attention"}, lambda name, tensor: ".attn." in name),
    "last block": (
        {"parameters": "last-blocks", "blocks": 1},
        lambda name, tensor: name.startswith(("transformer.resblocks.1.", "ln_post.", "proj")),
    ),
    "all blocks": ({"parameters": "last-blocks", "blocks": 2}, lambda name, tensor: not name.startswith(EMBEDDINGS)),
    "lora": (
        {"parameters": "lora", "rank": 3},
        lambda name, tensor: ".resblocks." in name and tensor.ndim == 2,
    ),
}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    from tiny import make_suite

    return open_suite(str(make_suite(tmp_path_factory.mktemp("tiny"))))


def adapted(suite: Suite, folder: Path, settings: dict[str, Any]) -> tuple[dict[str, torch.Tensor], list[Losses]]:
    """Return TASK's adapted weights without prefix, and the losses on the way."""
    losses = list[Losses]()
    resolve(suite, auxiliary="other", name="x", settings=QUICK | settings, directory=folder, report=losses.append)
    found = load_file(folder / f"{TASK}.safetensors")
    assert not [path for path in folder.iterdir() if path.suffix not in (".safetensors", ".json")]
    return {name.removeprefix("visual."): tensor for name, tensor in found.items()}, [
        item for item in losses if item.task == TASK
    ]


def expert_of(suite: Suite) -> dict[str, torch.Tensor]:
    tensors = suite.tower(suite.expert(TASK)).tensors
    return {name.removeprefix("visual."): tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize("choice", [choice for choice in CHOICES if choice != "lora"])
def test_every_choice_descends_as_a_plain_loop_does(suite: Suite, tmp_path: Path, choice: str) -> None:
    settings, trains = CHOICES[choice]
    found, losses = adapted(suite, tmp_path, settings)
    expected, steps = plain_run(suite, TASK, "other", trains, **QUICK)
    for ours, (keep, free) in zip(losses, steps, strict=True):
        assert ours.keep == pytest.approx(keep, rel=1e-4, abs=1e-6)
        assert ours.free == pytest.approx(free, rel=1e-4)
    original = expert_of(suite)
    for name, tensor in found.items():
        if trains(name, tensor):
            assert not torch.equal(tensor, original[name]), name
            plain = without_keys(name, expected[name])
            torch.testing.assert_close(without_keys(name, tensor), plain, rtol=1e-4, atol=2e-4)
        else:
            assert torch.equal(tensor, original[name]), name


def test_twenty_steps_as_large_towers_take_them_have_a_plain_loops_losses(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With oneDNN's products, blocks that multiply once, a last block for the class token and the fused optimiser."""
    for module in (architecture, descent, precision):
        monkeypatch.setattr(module, "LARGE", 0)
    monkeypatch.setattr(products, "pays", lambda: True)
    layers = list[torch.Size]()
    layer = products._layer

    def note(inputs: torch.Tensor, *others: Any) -> torch.Tensor:
        layers.append(inputs.shape)
        return layer(inputs, *others)

    monkeypatch.setattr(products, "_layer", note)
    length = QUICK | {"steps": 20}
    _, losses = adapted(suite, tmp_path, length | {"precision": "float32"})
    _, steps = plain_run(suite, TASK, "other", lambda name, tensor: True, **length)
    assert layers
    assert len(losses) == 20
    assert losses[-1].loss < 0.7 * losses[0].loss
    for ours, (keep, free) in zip(losses, steps, strict=True):
        assert ours.keep == pytest.approx(keep, rel=1e-4, abs=1e-6)
        assert ours.free == pytest.approx(free, rel=1e-4)


@pytest.mark.parametrize("large", [True, False])
def test_low_rank_updates_descend_as_autograd_has_them(
    suite: Suite, tmp_path: Path, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:  # layers give the factors' gradients
        monkeypatch.setattr(parameters, "LARGE", 0)
    settings, trains = CHOICES["lora"]
    encoder = Encoder(architecture_of(suite))
    weights = trained_weights(encoder, settings | {"blocks": 1})
    assert len(weights) == 2 * 4
    factors = LowRank(weights, 3, (0, *TASK.encode())).variables
    pairs = {name: (factors[f"{name}.B"].detach(), factors[f"{name}.A"].detach()) for name in weights}
    found, losses = adapted(suite, tmp_path, settings)
    expected, steps = plain_run(suite, TASK, "other", trains, low_rank=pairs, **QUICK)
    assert losses[-1].loss < losses[0].loss
    original = expert_of(suite)
    for ours, (keep, free) in zip(losses, steps, strict=True):
        assert (ours.keep, ours.free) == (pytest.approx(keep, rel=1e-4, abs=1e-6), pytest.approx(free, rel=1e-4))
    for name, tensor in found.items():
        if trains(name, tensor):
            torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=2e-5)
            singular = torch.linalg.svdvals((tensor - original[name]).double())
            assert singular[3] < 1e-3 * singular[0] < singular[2]
        else:
            assert torch.equal(tensor, original[name]), name


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_layers_give_the_gradients_of_factors_and_not_of_weights(
    suite: Suite, autocast: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder(architecture_of(suite))
    encoder.load({name: tensor.float() for name, tensor in suite.tower(suite.expert(TASK)).tensors.items()})
    encoder.autocast = autocast
    weights = trained_weights(encoder, CHOICES["lora"][0] | {"blocks": 1})
    moved = LowRank(weights, 3, (0,))
    for name, item in moved.variables.items():
        if name.endswith(".B"):
            torch.nn.init.normal_(item, std=0.01)
    moved.apply()
    for weight in weights.values():
        weight.requires_grad_(True)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    found = []
    for large in (1 << 40, 0):
        monkeypatch.setattr(parameters, "LARGE", large)
        for item in moved.variables.values():
            item.grad = None
        with moved.differentiated():
            features = encoder.forward(encoder.preprocess(pixels))
            (features * torch.arange(features.shape[1])).sum().backward()
        whole = {name for name, weight in weights.items() if weight.grad is not None}
        moved.gather()
        found.append((features.detach(), whole, {name: item.grad.clone() for name, item in moved.variables.items()}))
    (plain, all_of_them, expected), (factored, few, gradients) = found
    assert all_of_them == set(weights)
    assert few
    assert not any(".mlp." in name for name in few)  # PyTorch computes attention in one call
    assert torch.equal(plain, factored)
    for name, gradient in gradients.items():
        error = (gradient - expected[name]).norm() / expected[name].norm()
        assert error < (1e-5 if autocast is None else 3e-2), name


def test_full_rank_reaches_what_the_matrices_reach(suite: Suite, tmp_path: Path) -> None:
    settings = {"steps": 40}
    _, low = adapted(suite, tmp_path / "low", settings | {"parameters": "lora", "rank": 1})
    _, full = adapted(suite, tmp_path / "full", settings | {"parameters": "lora", "rank": 128})
    _, matrices = adapted(suite, tmp_path / "matrices", settings | {"parameters": "matrices"})
    assert full[-1].loss < 1.2 * matrices[-1].loss
    assert full[-1].loss < 0.8 * low[-1].loss


@pytest.mark.parametrize(("memory", "most"), [(5e-5, 15), (5e-6, 4)])
@pytest.mark.parametrize("choice", CHOICES)
def test_a_batch_in_parts_is_the_whole_batch(
    suite: Suite, tmp_path: Path, choice: str, memory: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[tuple[int, bool]]()
    original = parts.images_at_once

    def watched(*arguments: Any) -> tuple[int, bool]:
        seen.append(original(*arguments))
        return seen[-1]

    monkeypatch.setattr("ri_analysis.training.descent.images_at_once", watched)
    settings = CHOICES[choice][0]
    whole, losses = adapted(suite, tmp_path / "whole", settings)
    in_parts, other = adapted(suite, tmp_path / "parts", settings | {"memory": memory})
    assert seen[:3] == [(16, False)] * 3
    assert 1 <= seen[-1][0] <= most
    assert [item.loss for item in other] == pytest.approx([item.loss for item in losses], rel=1e-4)
    for name, tensor in in_parts.items():
        tensor, other = without_keys(name, tensor), without_keys(name, whole[name])
        torch.testing.assert_close(tensor, other, rtol=1e-4, atol=2e-4)


def test_blocks_are_recomputed_where_a_few_images_do_not_fit(suite: Suite, tmp_path: Path) -> None:
    _, losses = adapted(suite, tmp_path / "whole", {})
    _, other = adapted(suite, tmp_path / "lean", {"memory": 1e-6})
    assert [item.loss for item in other] == pytest.approx([item.loss for item in losses], rel=1e-4)
    encoder = Encoder(architecture_of(suite))
    encoder.module.requires_grad_(True)
    begun = start.Pixels(encoder, suite.auxiliary_data("other"))
    fetched = begun.fetch([*range(16)])
    inner = parts._bytes_per_image(parts._inner, encoder, begun, fetched)
    # Five tokens of width 32 take 640 bytes. A block holds 16 times that (its input, both norms, queries, keys, values,
    # what they attend to, the sum, four widths before and after the activation), the last one about 6 times.
    assert 20 * 640 < inner < 28 * 640
    assert parts.images_at_once(encoder, begun, fetched, 16.0 * inner) == (16, False)
    assert parts.images_at_once(encoder, begun, fetched, 5.5 * inner) == (5, False)
    few, recompute = parts.images_at_once(encoder, begun, fetched, 3.0 * inner)
    assert recompute
    assert 3 < few <= 6


@pytest.mark.parametrize("choice", CHOICES)
def test_what_does_not_fit_memory_lies_on_disk_and_changes_nothing(
    suite: Suite, tmp_path: Path, choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = CHOICES[choice][0] | {"views": 2}
    held, _ = adapted(suite, tmp_path / "held", settings)
    monkeypatch.setattr(start, "IN_MEMORY", 0)
    streamed, _ = adapted(suite, tmp_path / "streamed", settings)
    assert all(torch.equal(tensor, held[name]) for name, tensor in streamed.items())


def test_what_is_held_in_memory_keeps_to_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    assert start.room() == start.IN_MEMORY
    monkeypatch.setenv(VARIABLE, "1GB")
    assert start.room() == 250_000_000
    monkeypatch.setattr(start, "IN_MEMORY", 7)
    assert start.room() == 7


def test_choices_that_do_not_fit_the_tower_write_nothing(suite: Suite, tmp_path: Path) -> None:
    for settings, message in [
        ({"parameters": "last-blocks", "blocks": 3}, "has 2 blocks, found 3"),
        ({"parameters": "some"}, "one of all, matrices, attention, last-blocks, lora"),
    ]:
        with pytest.raises(InputError, match=message):
            resolve(suite, auxiliary="other", name="x", settings=settings, directory=tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("last", [1, 2])
def test_a_tower_in_two_halves_is_the_tower(suite: Suite, last: int) -> None:
    encoder = Encoder(architecture_of(suite))
    encoder.load(suite.zero_shot)
    x = torch.randn(3, 3, 8, 8)
    torch.testing.assert_close(encoder.forward_from(last, encoder.forward_to(last, x)), encoder.forward(x))
    encoder.recompute = True
    torch.testing.assert_close(encoder.forward(x), encoder.forward_from(last, encoder.forward_to(last, x)))
