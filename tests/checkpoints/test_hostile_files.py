from __future__ import annotations

import json
import operator
import os
import pickle
import runpy
import shutil
import struct
import webbrowser
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
        "posix.abort": Run(os.abort),
        "shutil.rmtree": Run(shutil.rmtree, str(path)),
        "runpy.run_path": Run(runpy.run_path, str(path)),
        "io.open": Run(open, str(path / MARK), "w"),
        "builtins.__import__": Run(__import__, "antigravity"),
        "webbrowser.open": Run(webbrowser.open, "https://example.org"),
        "operator.attrgetter": Run(operator.attrgetter, "system"),
        "builtins.map": Run(map, os.system, [touch]),
        "torch.storage._load_from_bytes": Run(torch.storage._load_from_bytes, b""),
        "torch.fx.graph_module.reduce_graph_module": Run(torch.fx.graph_module.reduce_graph_module, {}, ""),
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
    "an instance without arguments": (b"(ios\nabort\n.", "os.abort"),
    "a function of a library that hides another": (
        b"\x80\x04\x8c\x05numpy\x8c\x0asys.stdout\x93)R.",
        "numpy.sys.stdout",
    ),
    "a partial of a function": (b"\x80\x02cfunctools\npartial\ncos\nsystem\nX\x01\x00\x00\x00a\x86R.", "os.system"),
    "an argument of a library's function": (b"\x80\x02cnumpy\nvectorize\ncos\nsystem\n\x85R.", "os.system"),
    "what a call returned": (b"\x80\x02cfoo\nmake\n)R)R.", "what foo.make returns"),
    "members of members": (
        b"\x80\x02cbuiltins\ngetattr\ncbuiltins\ngetattr\ncnumpy\nlinalg\nX\x02\x00\x00\x00os\x86RX\x06\x00\x00\x00system\x86R"
        b"X\x01\x00\x00\x00a\x85R.",
        "numpy.linalg.os.system",
    ),
    "a member of a plain class": (
        b"\x80\x02cbuiltins\ngetattr\ncbuiltins\nobject\nX\x0e\x00\x00\x00__subclasses__\x86R)R.",
        "builtins.object.__subclasses__",
    ),
    "a function that loads": (
        b"\x80\x02cjoblib.numpy_pickle\nload\nX\x01\x00\x00\x00a\x85R.",
        "joblib.numpy_pickle.load",
    ),
    "a package that makes functions": (
        b"\x80\x02ccloudpickle.cloudpickle\n_make_function\n)R.",
        "cloudpickle.cloudpickle._make_function",
    ),
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
        # state for a tensor: another shape behind its back
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
        b"X\x03\x00\x00\x00cpuK\x04tQK\x00K\x02\x85K\x01\x85\x89ctorch\nSize\n)Rt"
        b"R}X\x05\x00\x00\x00shapeK\x63\x85sb.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NK\x00K\x02\x85K\x01\x85tR.",  # no storage
        b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\n)X\x03\x00\x00\x00cpuK\x04tQ.",  # a tuple as its key
        b"\x80\x02]K\x00K\x01s.",  # an entry for a list
        b"\x80\x02" + b"\x8a\xff" + b"\x7f" * 255 + b"Q.",  # a huge number as a reference
        b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00.",  # a bytearray longer than the file
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


def deep_tuple(levels: int = 39) -> bytes:
    """A tuple that holds itself twice, level by level: 2^levels leaves, whose hash would take for ever."""
    return b")q\x00" + b"".join(b"h%c h%c \x86q%c".replace(b" ", b"") % (n, n, n + 1) for n in range(levels))


ENDLESS = {
    "a key": b"\x80\x02}" + deep_tuple() + b"K\x01s.",
    "keys": b"\x80\x02}(" + deep_tuple() + b"K\x01u.",
    "an old dictionary": b"\x80\x02(" + deep_tuple() + b"K\x01d.",
    "a set": b"\x80\x04\x8f(" + deep_tuple() + b"\x90.",
    "a frozen set": b"\x80\x04(" + deep_tuple() + b"\x91.",
    "an ordered dictionary": b"\x80\x02ccollections\nOrderedDict\n]" + deep_tuple() + b"K\x01\x86a\x85R.",
    "an entry of a class": b"\x80\x02cfoo\nFoo\n)\x81" + deep_tuple() + b"K\x01s.",
    "a reference": b"\x80\x02" + deep_tuple() + b"Q.",
    "a storage's key": b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    + deep_tuple()
    + b"X\x03\x00\x00\x00cpuK\x04tQ.",
    "a shape": b"\x80\x02ctorch\nSize\n" + deep_tuple() + b"\x85R.",
    "a dictionary in itself": b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
    "dictionaries": b"\x80\x02}q\x00"
    + b"".join(b"}q%c(X\x01\x00\x00\x00ah%cX\x01\x00\x00\x00bh%cu" % (n + 1, n, n) for n in range(39))
    + b".",
    "lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "one list named again and again": b"\x80\x02("
    + b"(K\x01K\x02" * 5_000
    + b"l" * 5_000
    + b"".join([b"q\x00", b"ccollections\nOrderedDict\nq\x01", b"h\x01h\x00\x85R0" * 5_000, b"."]),
}


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.parametrize("old", [False, True])
def test_structures_without_end_are_one_message(name: str, old: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    if old:
        parts = [pickle.dumps(item, 2) for item in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
        path.write_bytes(b"".join([*parts, ENDLESS[name], pickle.dumps([], 2)]))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", ENDLESS[name])
    with pytest.raises(InputError) as error:
        read_checkpoint(path)  # what is walked without bounds would not come back
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("code", [b"(", b"]", b"}", b"\x8f", b"(1"])
@pytest.mark.parametrize("old", [False, True])
def test_more_operations_than_a_structure_takes_are_refused_before_they_are_done(
    code: bytes, old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ri_analysis.checkpoints import unpickle

    monkeypatch.setenv("RI_ANALYSIS_LIMITS", "operations=1000")
    monkeypatch.setattr(unpickle._Reader, "load", lambda _: pytest.fail("it is built"))
    whole = b"\x80\x04" + code * 2_000 + b"."
    if old:
        (tmp_path / "x.pt").write_bytes(whole)
    else:
        with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
            archive.writestr("archive/data.pkl", whole)
    with pytest.raises(
        InputError,
        match=r"too large: more than 1,000 operations of a pickle \(",
    ):
        read_checkpoint(tmp_path / "x.pt")


def test_a_structure_of_many_bytes_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"\x80\x02\x8e" + struct.pack("<Q", 1 << 26) + b"a" * (1 << 26) + b".")
    with pytest.raises(InputError, match="more than 33,554,432 bytes of a checkpoint without its tensors"):
        read_checkpoint(tmp_path / "x.pt")


def test_more_classes_than_a_checkpoint_names_are_refused(tmp_path: Path) -> None:
    names = b"".join(b"cfoo\nA%d\n0" % number for number in range(10_001))
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + names + b"N.")
    with pytest.raises(InputError, match="more than 10,000 names of classes"):
        read_checkpoint(tmp_path / "x.pt")


def test_many_tensors_and_a_tokenizers_pairs_are_no_attack(tmp_path: Path) -> None:
    import open_clip

    tokenizer = open_clip.SimpleTokenizer()
    with foreign(open_clip.SimpleTokenizer):
        torch.save({"state_dict": vision(model()), "tokenizer": vars(tokenizer)["bpe_ranks"]}, tmp_path / "a.pt")
    assert len(read_checkpoint(tmp_path / "a.pt").tensors) == len(vision(model()))
    many = {f"layers.{number}.weight": torch.zeros(1) for number in range(5_000)}
    torch.save(many, tmp_path / "b.pt")
    assert len(read_checkpoint(tmp_path / "b.pt").tensors) == 5_000


@pytest.mark.parametrize("shift", [1, 50, 1 << 31])
def test_a_directory_that_places_records_before_the_file_is_one_message(shift: int, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
    whole = bytearray(path.read_bytes())
    place = whole.rindex(b"PK\x05\x06") + 16
    struct.pack_into("<I", whole, place, struct.unpack_from("<I", whole, place)[0] + shift)
    path.write_bytes(whole)
    with pytest.raises(InputError, match=rf"declares \d+ bytes from byte -{shift} on in a file of \d+"):
        read_checkpoint(path)


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
