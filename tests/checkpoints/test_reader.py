from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ri_analysis.checkpoints import read_checkpoint, vision_tower
from ri_analysis.errors import InputError

TENSORS = {"visual.conv1.weight": torch.randn(2, 3), "visual.proj": torch.arange(4.0).half()}
SUFFIXES = [".safetensors", ".pt", ".pth", ".bin", ".ckpt"]


def save(tensors: dict[str, torch.Tensor], path: Path) -> Path:
    save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tensors_come_back_as_they_were(suffix: str, tmp_path: Path) -> None:
    path = save(TENSORS, tmp_path / f"model{suffix}")
    checkpoint = read_checkpoint(path)
    assert checkpoint.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert checkpoint.tensors[name].dtype == tensor.dtype
        assert torch.equal(checkpoint.tensors[name], tensor)
    with pytest.raises(KeyError):
        checkpoint.tensors["visual.other"]


def test_the_digest_is_the_content_s(tmp_path: Path) -> None:
    one, two = save(TENSORS, tmp_path / "a.safetensors"), save(TENSORS, tmp_path / "b.safetensors")
    other = save(TENSORS | {"visual.proj": torch.zeros(4)}, tmp_path / "c.safetensors")
    assert read_checkpoint(one).digest == read_checkpoint(two).digest != read_checkpoint(other).digest


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.99])
def test_a_truncated_or_empty_file_is_named(suffix: str, share: float, tmp_path: Path) -> None:
    path = save({"visual.conv1.weight": torch.randn(60, 50)}, tmp_path / f"model{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError) as caught:
        dict(read_checkpoint(path).tensors)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_something_else_is_named(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"<html>404: not found</html>")
    with pytest.raises(InputError) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pt: expected a checkpoint, found none"):
        read_checkpoint(tmp_path / "none.pt")


def test_a_file_of_another_format_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(InputError, match=r"model\.h5: expected a checkpoint"):
        read_checkpoint(path)


class Attack:
    """Unpickled, it makes a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_does_nothing(zipped: bool, tmp_path: Path) -> None:
    target, path = tmp_path / "attacked", tmp_path / "model.pt"
    torch.save({"visual.w": Attack(target)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"model\.pt: unsafe: .*mkdir; nothing was run"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps(Attack(target)))
    with pytest.raises(InputError, match=r"model\.pt"):
        read_checkpoint(path)
    assert not target.exists()


def test_an_envelope_is_opened_and_other_entries_left_out(tmp_path: Path) -> None:
    envelope = {"epoch": 3, "state_dict": {**TENSORS, "model_name": "ViT-B-32"}}
    torch.save(envelope, tmp_path / "model.pt")
    assert read_checkpoint(tmp_path / "model.pt").tensors.keys() == TENSORS.keys()


@pytest.mark.parametrize("wrapper", ["", "module.", "model.", "module.model."])
@pytest.mark.parametrize("inner", ["visual.", ""])
def test_a_vision_tower_is_found_in_its_wrappers(wrapper: str, inner: str, tmp_path: Path) -> None:
    block = "transformer.resblocks.0.ln_1.bias"
    tower = {"conv1.weight": torch.zeros(2), "ln_post.bias": torch.ones(3), block: torch.zeros(1)}
    tensors = {wrapper + inner + name: tensor for name, tensor in tower.items()}
    if inner:
        tensors[wrapper + "text_projection"] = torch.zeros(5)
    found = vision_tower(read_checkpoint(save(tensors, tmp_path / "model.safetensors")))
    assert set(found) == {"visual.conv1.weight", "visual.ln_post.bias", f"visual.{block}"}
    assert torch.equal(found["visual.ln_post.bias"], torch.ones(3))
    assert len(found) == 3


def test_a_checkpoint_without_a_vision_tower_is_named(tmp_path: Path) -> None:
    path = save({"encoder.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"expected open_clip vision tower keys .* found encoder\.weight"):
        vision_tower(read_checkpoint(path))
