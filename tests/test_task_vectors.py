from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from random_experts import model, task_vectors
from safetensors.torch import save_file

from ri_analysis.checkpoints import read_checkpoint
from ri_analysis.checkpoints.lazy import Computed, Read
from ri_analysis.errors import InputError
from ri_analysis.task_vectors import PIECE, TaskVectors

PRETRAINED = {"visual.a": torch.zeros(2, 3), "visual.b": torch.zeros(4), "visual.n": torch.tensor([1])}


def expert(**changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    tensors = {key: value.clone() for key, value in PRETRAINED.items()}
    for key, value in changes.items():
        if value is None:
            del tensors[f"visual.{key}"]
        else:
            tensors[f"visual.{key}"] = value
    return tensors


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (expert(b=None), "digits.pt: expected the pretrained model's tensors, 'visual.b' missing"),
        (expert(c=torch.zeros(1)), "digits.pt: tensors the pretrained model does not have: 'visual.c'"),
        (expert(b=torch.zeros(4, dtype=torch.int8)), "tensor 'visual.b' must be float16, bfloat16, float32 or float64"),
        (expert(b=torch.zeros(4).to(torch.float8_e4m3fn)), "float64, found torch.float8_e4m3fn"),
        (expert(a=torch.zeros(3, 2)), "tensor 'visual.a' must have the pretrained model's shape (2, 3), found (3, 2)"),
    ],
)
def test_keys_and_shapes_must_be_the_pretrained_model_s(broken: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(InputError) as caught:
        TaskVectors(PRETRAINED, {"good": expert(), "digits": broken}, {"digits": "digits.pt"})
    assert message in str(caught.value)


def test_the_pretrained_model_must_be_of_known_precision() -> None:
    broken = expert(b=torch.zeros(4).to(torch.float8_e5m2))
    with pytest.raises(InputError, match=r"zeroshot\.pt: tensor 'visual\.b' must be float16"):
        TaskVectors(broken, {"a": expert()}, {"pretrained": "zeroshot.pt"})


def test_integer_buffers_may_differ_in_kind() -> None:
    vectors = TaskVectors(PRETRAINED, {"a": expert(n=torch.tensor([2.5])), "b": expert(n=torch.tensor([9]).int())})
    assert torch.equal(vectors.pretrained("visual.n"), torch.tensor([1]))


def test_long_lists_of_missing_tensors_are_cut_short() -> None:
    pretrained = {f"visual.{n}": torch.zeros(1) for n in range(9)}
    with pytest.raises(InputError, match="and 6 more missing"):
        TaskVectors(pretrained, {"a": {}})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("owner", ["a", "pretrained"])
def test_values_must_be_finite(value: float, owner: str) -> None:
    bad = torch.zeros(4)
    bad[1] = bad[2] = value
    broken = expert(b=bad)
    pretrained, experts = (broken, {"a": expert()}) if owner == "pretrained" else (PRETRAINED, {"a": broken})
    vectors = TaskVectors(pretrained, experts)
    assert vectors.layer("visual.a").deltas.shape == (1, 2, 3)
    with pytest.raises(InputError, match=rf"{owner}: tensor 'visual\.b' must be finite, found 2 NaN or infinite of 4"):
        _ = vectors.layer("visual.b").deltas


def test_the_largest_finite_values_pass() -> None:
    largest = torch.full((4,), torch.finfo(torch.float32).max)
    vectors = TaskVectors(PRETRAINED, {"a": expert(b=largest)})
    assert torch.equal(vectors.layer("visual.b").deltas[0], largest)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_precision_is_read_as_float32(dtype: torch.dtype) -> None:
    values = torch.tensor([0.5, -2.0, 0.0, 8.0])
    vectors = TaskVectors(PRETRAINED, {"a": expert(b=values.to(dtype)), "b": expert()})
    layer = vectors.layer("visual.b")
    assert layer.deltas.dtype == layer.pretrained.dtype == torch.float32
    assert torch.equal(layer.deltas, torch.stack([values, torch.zeros(4)]))


def test_integer_buffers_are_not_walked() -> None:
    vectors = TaskVectors(PRETRAINED, {"a": expert(n=torch.tensor([9]))})
    assert [layer.name for layer in vectors.walk()] == ["visual.a", "visual.b"]
    assert not vectors.is_float("visual.n")
    assert torch.equal(vectors.pretrained("visual.n"), torch.tensor([1]))


def test_a_walk_yields_fresh_tensors_every_time() -> None:
    vectors = task_vectors()
    for layer in vectors.walk():
        layer.deltas.zero_()
    for layer, expected in zip(vectors.walk(), model(3), strict=True):
        assert layer.name == expected.name
        torch.testing.assert_close(layer.deltas, expected.deltas, atol=1e-6, rtol=1e-4)


def test_selection_keeps_the_order_asked_for() -> None:
    vectors = task_vectors(count=4).select(("c", "a"))
    assert vectors.tasks == ("c", "a")
    name = vectors.names[0]
    torch.testing.assert_close(vectors.layer(name).deltas, model(4)[0].deltas[[2, 0]], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("name", "matrix"), [("visual.a", True), ("visual.b", False)])
def test_two_dimensions_make_a_matrix(name: str, matrix: bool) -> None:
    assert TaskVectors(PRETRAINED, {"a": expert()}).layer(name).is_matrix is matrix


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layers_read_from_files_are_those_of_whole_tensors(dtype: torch.dtype, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = {"visual.a": (3, PIECE // 2 + 7), "visual.b": (5,), "visual.c": (), "visual.d": (0,), "visual.e": (0, 3)}
    models = {
        name: {key: torch.randn(size, generator=generator).to(dtype) for key, size in sizes.items()}
        for name in ("pretrained", "digits", "cars")
    }
    for name, tensors in models.items():
        save_file(tensors, tmp_path / f"{name}.safetensors")
    pretrained, *experts = (read_checkpoint(tmp_path / f"{name}.safetensors").tensors for name in models)
    vectors = TaskVectors(pretrained, dict(zip(("digits", "cars"), experts, strict=True)))
    for layer in vectors.walk({"cars": 0.5}):
        start = models["pretrained"][layer.name].float()
        wanted = torch.stack(
            [
                models["digits"][layer.name].float() - start,
                (models["cars"][layer.name].float() - start) * 0.5,
            ]
        )
        flat = wanted.reshape(2, -1)
        assert torch.equal(layer.deltas, wanted)
        assert torch.equal(torch.stack(list(layer.each())), wanted)
        assert torch.equal(torch.cat([piece.clone() for piece in layer.pieces()], dim=1), flat)
        for start_at in (0, 3, 16):
            assert torch.equal(layer.every(17, start_at), flat[:, start_at::17])


def test_what_is_put_together_is_so_once_a_layer() -> None:
    made: list[str] = []

    def make(name: str, read: Read) -> torch.Tensor:
        made.append(name)
        return read(PRETRAINED, name) + 1

    experts = Computed({name: partial(make, name) for name in PRETRAINED}, "an adapter")
    layer = TaskVectors(PRETRAINED, {"digits": experts}).layer("visual.a")
    made.clear()
    for _ in range(2):
        assert [piece.tolist() for piece in layer.pieces()] == [[[1.0] * 6]]
        assert all(bool((delta == 1).all()) for delta in layer.each())
    assert made == []
