from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ri_analysis.cli import main
from ri_analysis.engine import check_suite
from ri_analysis.engine.remarks import suite_remarks
from ri_analysis.suite import open_suite


@pytest.fixture(autouse=True)
def good_experts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say nothing about the tiny suite's experts: they are random."""
    monkeypatch.setattr("ri_analysis.api.opened.expert_remarks", lambda *_: ())
    monkeypatch.setattr("ri_analysis.engine.check.expert_remarks", lambda *_: ())


@pytest.fixture
def remarkable(tiny: Path) -> Path:
    """The tiny suite with an expert that carries an optimiser's state, a head of unit rows, and a damaged image."""
    folder = tiny.parent
    expert = folder / "original" / "Reds.safetensors"
    torch.save({"model": load_file(expert), "epoch": 3}, folder / "Reds.pt")
    head = folder / "head-Greens.safetensors"
    save_file({"weight": torch.nn.functional.normalize(load_file(head)["weight"])}, head)
    for label in range(2):
        for number in range(3):
            path = folder / "blues" / f"{label}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (0, 0, 80 * label + number)).save(path)
    path.write_bytes(path.read_bytes()[:40])
    text = tiny.read_text().replace("original/Reds.safetensors", "Reds.pt").replace("Blues-test.npz", "blues")
    tiny.write_text(text)
    return tiny


ABOUT_REDS, ABOUT_GREENS, ABOUT_BLUES = "unused entries: epoch", "rows have length 1", "1 damaged image skipped"
RECIPE = ["--tasks", "Reds,Blues"]
COMMANDS = {
    ("measure",): (1, 1, 1),
    ("measure", *RECIPE): (1, 0, 1),
    ("measure", "--split", "validation"): (1, 1, 0),
    ("measure", "--tasks", "Greens", "--json"): (0, 1, 0),
    ("interference", "--json"): (1, 1, 1),
    ("merge", "--out", "OUT"): (1, 0, 0),
    ("merge", "--tasks", "Blues", "--out", "OUT"): (0, 0, 0),
    ("report", "--out", "OUT"): (1, 1, 1),
    ("resolve", "--auxiliary", "noise", "--name", "mine", "--steps", "1", "--out", "OUT"): (1, 1, 0),
    ("study", "alone", "--no-images", "--set", "images=8", "--out", "OUT"): (1, 1, 1),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_once_what_is_remarkable_about_what_it_uses(
    command: tuple[str, ...], remarkable: Path, workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *flags = [str(tmp_path / "out") if flag == "OUT" else flag for flag in command]
    at = 1 if name == "study" else 0
    flags[at:at] = [str(remarkable)]
    assert main([name, *flags, "--workspace", str(workspace), "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    found = tuple(err.count(words) for words in (ABOUT_REDS, ABOUT_GREENS, ABOUT_BLUES))
    assert found == COMMANDS[command]
    assert "note" not in out
    if "--json" in flags:
        json.loads(out)
    said = [line for line in err.splitlines() if not re.match(r"\d+%  ", line)]  # progress, on a slow machine
    assert all(line.startswith(f"note  {remarkable.parent}/") for line in said)


def test_a_merge_of_somebody_else_is_looked_at_too(
    tiny: Path, workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = tmp_path / "theirs.pt"
    torch.save({"state_dict": load_file(tiny.parent / "original" / "Reds.safetensors"), "lr": 0.1}, theirs)
    main(["measure", str(tiny), "--merged", str(theirs), "--workspace", str(workspace), "--device", "cpu"])
    assert capsys.readouterr().err == f"note  {theirs}: unused entries: lr\n"


def test_check_says_the_same(remarkable: Path, workspace: Path) -> None:
    suite = open_suite(str(remarkable), workspace)
    report = check_suite(str(remarkable), workspace)
    from ri_analysis.encoder import architecture_of, load_heads

    heads = load_heads(suite, architecture_of(suite))
    found = suite_remarks(suite, suite.tasks, suite.expert_sets, heads=heads, splits=("test", "validation"))
    assert sorted(found) == sorted(report.remarks)
    assert len(found) == 4


@pytest.mark.parametrize("suite", ["demo", "demo-halves"])
def test_nothing_is_remarkable_about_the_embedded_suites(suite: str) -> None:
    opened = open_suite(suite)
    assert suite_remarks(opened, opened.tasks, opened.expert_sets, splits=("test", "validation")) == ()
