"""What a user sees of a damaged expert: exit code 2 and one message that names the file, whatever the command."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ri_analysis.cli import main

Damage = Callable[[Path, dict[str, torch.Tensor]], None]


def _flipped(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    torch.save(tensors, path)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 4
    path.write_bytes(whole)


def _truncated(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    torch.save(tensors, path)
    path.write_bytes(path.read_bytes()[:-5000])


def _truncated_safetensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, path)
    path.write_bytes(path.read_bytes()[:-5000])


def _zip_bomb(path: Path, _tensors: dict[str, torch.Tensor]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 20_000_000)


def _size_bomb(path: Path, _tensors: dict[str, torch.Tensor]) -> None:
    header = json.dumps({"x": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def _changed(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Damage:
    return lambda path, tensors: torch.save(change(tensors), path)


def _unsafe(path: Path, _tensors: dict[str, torch.Tensor]) -> None:
    path.write_bytes(b"cos\nsystem\n(S'touch ri-analysis-was-here'\ntR.")


PROJECTION = "visual.proj"
DAMAGES: dict[str, tuple[Damage, str]] = {
    "empty": (lambda path, _: path.write_bytes(b""), "found an empty file"),  # type: ignore[dict-item, return-value]
    "truncated": (_truncated, "is it truncated?"),
    "truncated safetensors": (_truncated_safetensors, "expected a whole safetensors file"),
    "a flipped bit": (_flipped, "is damaged: its checksum must be"),
    "zip bomb": (_zip_bomb, "must be stored as it is"),
    "size bomb": (_size_bomb, "expected a whole safetensors file"),
    "unsafe": (_unsafe, "unsafe: loading it would call os.system"),
    "another width": (
        _changed(lambda t: t | {PROJECTION: t[PROJECTION][:, :8].clone()}),
        "shape (32, 16), found (32, 8)",
    ),
    "fewer blocks": (
        _changed(lambda t: {key: value for key, value in t.items() if "resblocks.1" not in key}),
        "expected the pretrained model's tensors",
    ),
    "another network": (_changed(lambda _: {"layer1.0.conv1.weight": torch.zeros(2, 2)}), "vision tower keys"),
    "not a number": (
        _changed(lambda t: t | {PROJECTION: t[PROJECTION].index_fill(0, torch.tensor(3), torch.nan)}),
        "must be finite, found 16 NaN or infinite of 512 values",
    ),
}


@pytest.mark.parametrize("command", ["check", "measure", "merge"])
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_one_clear_message(
    tiny: Path, name: str, command: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, message = DAMAGES[name]
    path = tiny.parent / "original" / "expert-of-Greens"
    damage(path, load_file(tiny.parent / "original" / "Greens.safetensors"))
    tiny.write_text(tiny.read_text().replace("original/Greens.safetensors", f"original/{path.name}"))
    out = tiny.parent / "merged.safetensors"
    assert main([command, str(tiny), "--workspace", str(workspace), *_more(command, out)]) == 2
    printed = capsys.readouterr()
    said = [line for line in (printed.out + printed.err).splitlines() if str(path) in line]
    assert len(said) == 1
    assert message in said[0]
    assert "Traceback" not in printed.err
    assert not out.exists()
    assert not Path("ri-analysis-was-here").exists()


def _more(command: str, out: Path) -> list[str]:
    return ["--out", str(out)] if command == "merge" else []
