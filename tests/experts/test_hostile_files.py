from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_formats import foreign, hugging_face, model, sharded_folder, vision
from safetensors.torch import save_file

from ri_analysis.checkpoints import read_checkpoint, read_tower
from ri_analysis.errors import InputError

MARK = "ri-analysis-was-here"


class Run:
    """Pickles as a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def hostile(path: Path) -> dict[str, Any]:
    import importlib
    import subprocess

    touch = f"touch {path / MARK}"
    return {
        "posix.system": Run(os.system, touch),
        "builtins.eval": Run(eval, f"open({str(path / MARK)!r}, 'w')"),
        "builtins.exec": Run(exec, f"open({str(path / MARK)!r}, 'w')"),
        "subprocess.Popen": Run(subprocess.Popen, touch),
        "builtins.getattr": Run(getattr, "text", "format"),
        "importlib.import_module": Run(importlib.import_module, "antigravity"),
        "torch.hub.load": Run(torch.hub.load, "x/y", "z"),
        "torch.serialization.load": Run(torch.load, str(path)),
    }


def places(evil: Run) -> dict[str, Any]:
    """A hostile object in the places where it can hide."""
    clean = {"visual.conv1.weight": torch.zeros(2, 2)}
    module = torch.nn.Linear(2, 2)
    module.secret = evil
    return {
        "alone": evil,
        "in a state dict": OrderedDict({**clean, "z": evil}),
        "in an envelope": {"state_dict": clean, "extra": [{"a": (evil,)}]},
        "in a module": module,
    }


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", list(hostile(Path("."))))
def test_a_pickle_that_would_run_code_does_nothing(tmp_path: Path, name: str, old: bool) -> None:
    for where, tree in places(hostile(tmp_path)[name]).items():
        path = tmp_path / f"{where}.pt"
        torch.save(tree, path, _use_new_zipfile_serialization=not old)
        with pytest.raises(InputError) as error:
            read_checkpoint(path)
        assert str(error.value).startswith(f"{path}: unsafe: loading it would call {name};")
    assert not (tmp_path / MARK).exists()


RAW = {
    "protocol 0": (b"cos\nsystem\n(S'touch MARK'\ntR.", "os.system"),
    "an instance": (b"(S'touch MARK'\nios\nsystem\n.", "os.system"),
    "an object": (b"\x80\x02(cos\nsystem\nX\x0a\x00\x00\x00touch MARKo.", "os.system"),
    "getattr of a module's name": (
        b"\x80\x02cbuiltins\ngetattr\ncos\nsystem\nX\x01\x00\x00\x00a\x86R.",
        "builtins.getattr",
    ),
    "a dotted name": (b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93)R.", "torch.os.system"),
    "a rebuild of another kind": (
        b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nNX\x04\x00\x00\x00trueNtR.",
        "os.system",
    ),
}


@pytest.mark.parametrize("name", RAW)
def test_hand_made_pickles_do_nothing(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, called = RAW[name]
    (tmp_path / "raw.pt").write_bytes(code.replace(b"MARK", MARK[:4].encode()))
    with zipfile.ZipFile(tmp_path / "zip.pt", "w") as archive:
        archive.writestr("archive/data.pkl", code.replace(b"MARK", MARK[:4].encode()))
        archive.writestr("archive/version", "3\n")
    for file in ("raw.pt", "zip.pt"):
        with pytest.raises(InputError, match="unsafe") as error:
            read_checkpoint(tmp_path / file)
        assert f"would call {called};" in str(error.value)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["raw.pt", "zip.pt"]


@pytest.mark.parametrize(
    "code",
    [
        b"\x80\x02}r\xff\xff\xff\x7f.",  # a memo index that would claim 16 GiB
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # bytes longer than the file
        b"\x80\x02\x82\x01.",  # an extension code
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01s\x86b.",  # state for a function
        b"\x80\x02" + b"(" * 50 + b".",
        b"\x80\x02ccollections\nOrderedDict\n)R}\x86.",
        b"\x80",
    ],
)
def test_damaged_structures_are_one_message(tmp_path: Path, code: bytes) -> None:
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", code)
    with pytest.raises(InputError) as error:
        read_checkpoint(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_numbers_and_enums_of_other_libraries_are_harmless(tmp_path: Path) -> None:
    import numpy as np

    extras = {"best": np.float64(0.5), "rng": np.arange(3), "device": torch.device("cpu"), "path": tmp_path}
    torch.save({"state_dict": vision(model()), **extras}, tmp_path / "x.pt")
    checkpoint = read_checkpoint(tmp_path / "x.pt")
    assert set(checkpoint.ignored) == set(extras)


# --- damage -------------------------------------------------------------------------------------------------------


def write(folder: Path) -> dict[str, Path]:
    """The same weights in four kinds of files."""
    state = vision(model())
    save_file(state, folder / "a.safetensors")
    torch.save(state, folder / "b.pt")
    torch.save(state, folder / "c.bin", _use_new_zipfile_serialization=False)
    with foreign():
        torch.save(model().visual, folder / "d.pt")
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["a.safetensors", "b.pt", "c.bin", "d.pt"])
def test_truncated_files_are_one_message(tmp_path: Path, name: str) -> None:
    path = write(tmp_path)[name]
    whole = path.read_bytes()
    for length in (0, 1, 30, len(whole) // 3, len(whole) // 2, len(whole) - 200):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError) as error:
            read_tower(read_checkpoint(path))
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["b.pt", "d.pt"])
def test_a_flipped_bit_in_a_torch_file_is_found(tmp_path: Path, name: str) -> None:
    path = write(tmp_path)[name]
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 4  # inside a tensor
    path.write_bytes(whole)
    with pytest.raises(InputError, match="is damaged: its checksum must be"):
        read_checkpoint(path)


@pytest.mark.parametrize("name", ["a.safetensors", "b.pt", "c.bin", "d.pt"])
def test_flipped_bits_anywhere_never_escape_as_another_error(tmp_path: Path, name: str) -> None:
    path = write(tmp_path)[name]
    whole = path.read_bytes()
    generator = torch.Generator().manual_seed(1)
    for _ in range(40):
        damaged = bytearray(whole)
        ends = torch.randint(0, 3000, (1,), generator=generator).item()
        position = ends if torch.rand(1, generator=generator) < 0.5 else len(whole) - 1 - ends
        damaged[position] ^= 1 << int(torch.randint(0, 8, (1,), generator=generator))
        path.write_bytes(damaged)
        with suppress(InputError):
            tensors = read_tower(read_checkpoint(path)).tensors
            assert all(tensors[key].numel() < 1e6 for key in tensors)


def test_checksums_that_were_not_written_are_not_missed(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(vision(model()), tmp_path / "x.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert len(read_checkpoint(tmp_path / "x.pt").tensors) == len(vision(model()))


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 50_000_000)
    with pytest.raises(InputError, match=r"must be stored as it is, found \d+ bytes that unpack to 50000000"):
        read_checkpoint(tmp_path / "bomb.pt")
    header = json.dumps({"x": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    (tmp_path / "bomb.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(InputError, match="whole safetensors file"):
        read_checkpoint(tmp_path / "bomb.safetensors")
    torch.save({"class_embedding": torch.zeros(1).expand(1 << 40)}, tmp_path / "wide.pt")
    with pytest.raises(InputError, match="its record holds 4"):
        read_checkpoint(tmp_path / "wide.pt")


def test_what_lies_in_a_checkpoints_place_is_named(tmp_path: Path) -> None:
    contents = {
        "a.pt": (b"", "empty file"),
        "b.safetensors": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        "c.pt": (b"<!DOCTYPE html><html>", "a web page"),
        "d.pt": (b"hello", "another kind of file"),
        "e.pt": (pickle.dumps({"a": 1}), "plain pickle"),
    }
    for name, (content, message) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_checkpoint(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "f.pt", "w") as archive:
        archive.writestr("a.txt", "no model")
    with pytest.raises(InputError, match=r"zip archive without one 'data\.pkl'"):
        read_checkpoint(tmp_path / "f.pt")
    with pytest.raises(InputError, match="found none"):
        read_checkpoint(tmp_path)
    torch.save([1, 2], tmp_path / "g.pt")
    with pytest.raises(InputError, match="list without tensors"):
        read_checkpoint(tmp_path / "g.pt")
    torch.save({"epoch": 1}, tmp_path / "h.pt")
    with pytest.raises(InputError, match="found epoch without tensors"):
        read_checkpoint(tmp_path / "h.pt")


@pytest.mark.parametrize("key", ["params.0", "model.params0.3", "params0.visual.conv1.weight"])
def test_linearised_checkpoints_are_refused_with_the_reason(tmp_path: Path, key: str) -> None:
    torch.save({key: torch.zeros(2)}, tmp_path / "linear_finetuned.pt")
    with pytest.raises(InputError, match=r"linearised \(tangent\) checkpoint"):
        read_tower(read_checkpoint(tmp_path / "linear_finetuned.pt"))


def test_damaged_shards_are_named(tmp_path: Path) -> None:
    folder = sharded_folder(tmp_path / "shards", hugging_face(vision(model())))
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InputError, match="model-00002-of-00002"):
        read_checkpoint(folder)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../../secret"}}))
    with pytest.raises(InputError, match="plain file names"):
        read_checkpoint(folder)
    index.write_text(json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}}))
    with pytest.raises(InputError, match="expected tensor 'a'"):
        read_checkpoint(folder)
    index.write_text("{")
    with pytest.raises(InputError, match="expected JSON"):
        read_checkpoint(folder)


def test_a_missing_part_of_q_k_v_is_named(tmp_path: Path) -> None:
    tensors = hugging_face(vision(model()))
    tensors.pop("vision_model.encoder.layers.1.self_attn.k_proj.bias")
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"layers\.1\.self_attn\.k_proj\.bias"):
        read_tower(read_checkpoint(tmp_path / "x.safetensors"))


def test_digests_are_remembered_for_unchanged_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ri_analysis.checkpoints import stamps

    path, memory = write(tmp_path)["b.pt"], tmp_path / "memory"
    monkeypatch.setattr(stamps, "WORTH_REMEMBERING", 0)
    first = read_checkpoint(path, memory).digest
    with monkeypatch.context() as patch:
        patch.setattr(stamps, "file_digest", lambda _: pytest.fail("read again"))
        assert read_checkpoint(path, memory).digest == first
    torch.save({key: value + 1 for key, value in vision(model()).items()}, path)
    assert read_checkpoint(path, memory).digest != first
