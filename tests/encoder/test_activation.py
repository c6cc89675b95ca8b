"""Weights that were made for another activation are refused by whatever would compute with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoint_formats import hugging_face, hugging_face_folder
from safetensors.torch import load_file

from ri_analysis.cli import main


@pytest.fixture
def other_activation(tiny: Path) -> Path:
    """The tiny suite, which computes GELU, with an expert that its config says was made with quick-GELU."""
    tensors = load_file(tiny.parent / "original" / "Greens.safetensors")
    bare = {name.removeprefix("visual."): tensor for name, tensor in tensors.items()}
    hugging_face_folder(tiny.parent / "greens", hugging_face(bare), "CLIPVisionModelWithProjection", act="quick_gelu")
    tiny.write_text(tiny.read_text().replace("original/Greens.safetensors", "greens"))
    return tiny


COMMANDS = [
    ("check",),
    ("measure",),
    ("interference", "--json"),
    ("merge", "--out", "OUT"),
    ("report", "--out", "OUT"),
    ("resolve", "--auxiliary", "noise", "--name", "mine", "--steps", "1", "--out", "OUT"),
    ("study", "joint", "--no-images", "--set", "methods=ties", "--out", "OUT"),
    ("measure", "--merged", "GREENS"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_computes_with_another_activation(
    command: tuple[str, ...],
    other_activation: Path,
    workspace: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"OUT": str(tmp_path / "out"), "GREENS": str(other_activation.parent / "greens")}
    name, *flags = [places.get(word, word) for word in command]
    flags.insert(1 if name == "study" else 0, str(other_activation))
    assert main([name, *flags, "--workspace", str(workspace), "--device", "cpu"]) == 2
    out, err = capsys.readouterr()
    assert "was made with quick-GELU" in (out if name == "check" else err)
    assert not (tmp_path / "out").exists()


def test_other_tasks_can_be_measured(other_activation: Path, workspace: Path) -> None:
    arguments = ["measure", str(other_activation), "--tasks", "Reds,Blues", "--workspace", str(workspace)]
    assert main([*arguments, "--device", "cpu"]) == 0
