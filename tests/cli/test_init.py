from __future__ import annotations

from pathlib import Path

import pytest
from layouts import LAYOUTS, flat, task_vectors

from ri_analysis.cli import main

pytestmark = pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")


@pytest.mark.parametrize("layout", ["task_vectors", "tall_masks", "flat"])
def test_init_writes_a_suite_that_check_accepts(
    layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = LAYOUTS[layout](tmp_path / "mine")
    assert main(["init", str(folder)]) == 0
    *lines, wrote, then = capsys.readouterr().out.splitlines()
    assert all(line.startswith(("found ", "left out ", "to decide ")) for line in lines)
    assert wrote == f"wrote      {folder / 'suite.toml'}"
    assert then == f"next       ri-analysis check {folder / 'suite.toml'}"
    assert main(["check", str(folder), "--workspace", str(tmp_path / "workspace"), "--device", "cpu"]) == 0


def test_what_is_open_is_printed_and_check_says_what_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = flat(tmp_path / "mine")
    (folder / "mnist.npz").unlink()
    assert main(["init", str(folder)]) == 0
    assert "to decide  [[task]] mnist: no images were found under its name; write the path" in capsys.readouterr().out
    assert main(["check", str(folder), "--workspace", str(tmp_path / "workspace")]) == 2
    assert "[[task]] 2 (mnist): key 'data' missing" in capsys.readouterr().out


def test_a_suite_file_is_replaced_only_when_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = task_vectors(tmp_path / "mine")
    out = tmp_path / "mine.toml"
    out.write_text("mine")
    assert main(["init", str(folder), "--out", str(out)]) == 2
    assert capsys.readouterr().err == f"ri-analysis: {out}: expected no such file yet, found one\n"
    assert out.read_text() == "mine"
    assert main(["init", str(folder), "--out", str(out), "--overwrite"]) == 0
    assert f'root = "{folder}"' in out.read_text()
    assert main(["check", str(out), "--workspace", str(tmp_path / "workspace"), "--device", "cpu"]) == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", "expected experts, fine-tuned checkpoints of one model, found none"),
        ("nowhere", "expected a folder to look for checkpoints in, found none"),
    ],
)
def test_where_there_is_nothing_to_draft_from_nothing_is_written(
    name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["init", str(tmp_path / name)]) == 2
    assert capsys.readouterr().err == f"ri-analysis: {tmp_path / name}: {message}\n"
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "empty"]


def test_a_flags_home_is_ones_own(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert main(["init", str(tiny.parent), "--out=~/drafted.toml"]) == 0  # a shell leaves it as it is
    assert (tmp_path / "drafted.toml").is_file()
