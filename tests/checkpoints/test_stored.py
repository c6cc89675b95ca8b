"""Where tensors lie in a safetensors file, against the format's own library, and files cut off under an app."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save, save_file

from ri_analysis.checkpoints import pieces, read_checkpoint
from ri_analysis.checkpoints.stored import DTYPES, read_safetensors
from ri_analysis.errors import ChangedFile, InputError

_VALUES = {name: torch.arange(12).reshape(3, 4).to(dtype) for name, dtype in DTYPES.items() if name != "complex128"}
ODD = {"none": torch.zeros(0, 3), "one": torch.tensor(2.5), "narrow": torch.ones(3, dtype=torch.bool)}


def test_every_type_and_shape_is_read_as_the_formats_library_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "all.safetensors"
    save_file(_VALUES | ODD, path, metadata={"format": "pt"})
    found, expected = read_safetensors(path), load_file(path)
    assert list(found) == sorted(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, equal_nan=True)


ENTRY = st.sampled_from(["dtype", "shape", "data_offsets"])
VALUE = st.sampled_from(["F32", "F16", "F4", "I8", "", None, True, [], [2], [3], [2, 0], [-1], [1.0], [0, 8], [8, 0],
                         [8, 16], [8, 20], [0, 12], [0, 8, 8], [1 << 70], "shape"])  # fmt: skip


@settings(max_examples=120, derandomize=True, deadline=None, database=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), ENTRY, VALUE), max_size=3),
    st.binary(max_size=4),
    st.sampled_from([0, 0, 0, 1, -1, 4]),
)
def test_a_header_is_taken_where_the_formats_library_takes_it(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[str, str, object]], more: bytes, off: int
) -> None:
    whole = save({"a": torch.ones(2), "b": torch.ones(3)})
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    for name, key, value in edits:
        header[name][key] = value
    text = json.dumps(header).encode()
    path = tmp_path_factory.mktemp("header") / "x.safetensors"
    path.write_bytes((len(text) + off).to_bytes(8, "little") + text + whole[8 + length :] + more)
    try:
        with safe_open(path, framework="pt") as file:
            expected = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, TypeError, AttributeError, KeyError, RuntimeError):
        with pytest.raises(InputError):
            dict(read_safetensors(path))
    else:
        found = dict(read_safetensors(path))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name].double(), expected[name].double()) for name in expected)


def test_a_file_that_is_removed_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.ones(3)}, path)
    found = read_checkpoint(path).tensors
    path.unlink()
    with pytest.raises(ChangedFile):  # on which the suite is opened again
        found["a"]


@pytest.mark.parametrize("name", ["x.safetensors", "zip.pt", "legacy.pt"])
def test_a_file_that_is_cut_off_ends_no_process(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors, path = (
        {"a": torch.full((100_000,), 2.0), "b": torch.ones(100, 1_000)[:, ::2], "c": torch.ones(0)},
        tmp_path / name,
    )
    if name.endswith(".pt"):
        torch.save(tensors, path, _use_new_zipfile_serialization=name.startswith("zip"))
    else:
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
    found = read_checkpoint(path).tensors
    for key, tensor in tensors.items():
        torch.testing.assert_close(found[key], tensor, rtol=0, atol=0)
        parts = [part.clone() for part in pieces(found, key, 999)]
        torch.testing.assert_close(torch.cat(parts) if parts else tensor, tensor.reshape(-1), rtol=0, atol=0)
    held, begun = found["a"], pieces(found, "a", 100)
    next(begun)
    # As where it is cut off right after its stamp was compared.
    monkeypatch.setattr("ri_analysis.checkpoints.stored.require_unchanged", lambda *_: None)
    os.truncate(path, 1_000)
    assert held.sum() == 200_000
    with pytest.raises(ChangedFile, match=f"{name}: cut off since it was opened; open the suite again"):
        found["a"]
    with pytest.raises(ChangedFile, match=f"{name}: cut off since it was opened"):
        list(begun)
    if hasattr(os, "mkfifo"):
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(InputError, match="found a device or pipe"):  # and no waiting for who writes to it
            found["a"]
