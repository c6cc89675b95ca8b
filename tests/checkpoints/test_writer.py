from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ri_analysis.checkpoints import read_metadata, write_safetensors

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]
TENSORS = {f"visual.{n}": (torch.arange(6).view(2, 3) % 2).to(dtype) for n, dtype in enumerate(DTYPES)} | {
    "visual.number": torch.tensor(2.5),
    "visual.nothing": torch.zeros(0, 4),
    "visual.strided": torch.arange(12.0).view(3, 4).T,
}
LAYOUT = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in TENSORS.items()}


def test_safetensors_reads_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, LAYOUT, TENSORS.items(), {"key": "välue"})
    found = load_file(path)
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert read_metadata(path) == {"key": "välue"}


def test_tensors_are_converted_to_the_layout(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {"w": ((2,), torch.float16)}, [("w", torch.tensor([1.0, 0.1]))], {})
    assert torch.equal(load_file(path)["w"], torch.tensor([1.0, 0.1]).half())
    assert read_metadata(path) == {}


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_safetensors(tmp_path / name, LAYOUT, TENSORS.items(), {"a": "1", "b": "2"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def broken() -> Iterator[tuple[str, torch.Tensor]]:
    yield next(iter(TENSORS.items()))
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("tensors", "error"),
    [
        (broken(), KeyboardInterrupt),
        ([("visual.0", torch.zeros(9))], ValueError),
        ([("visual.1", torch.zeros(2, 3))], ValueError),
        (list(TENSORS.items())[:-1], ValueError),
        ([*TENSORS.items(), ("visual.extra", torch.zeros(1))], ValueError),
    ],
    ids=["interrupted", "wrong shape", "wrong order", "too few", "too many"],
)
def test_an_aborted_write_leaves_nothing(tensors: object, error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(error):
        write_safetensors(path, LAYOUT, tensors, {})  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="fewer"):
        write_safetensors(path, LAYOUT, [], {})
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
