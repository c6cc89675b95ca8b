"""Plug-ins on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import outside
import pytest

from ri_analysis import plugins
from ri_analysis.cli import main


@pytest.fixture
def files(tmp_path: Path) -> Iterator[list[Path]]:
    with outside.all_kinds(tmp_path / "mine") as paths:
        yield paths


def flags(files: list[Path]) -> list[str]:
    return [word for path in files for word in ("--plugin", str(path))]


def test_every_kind_is_in_its_command(
    files: list[Path], tiny: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
):
    def printed(*words: str) -> str:
        capsys.readouterr()
        assert main(list(words)) == 0
        return capsys.readouterr().out

    place = [str(tiny), "--workspace", str(workspace), "--device", "cpu", *flags(files)]
    methods = {each["name"]: each for each in json.loads(printed("methods", "--json", *flags(files)))}
    assert [each["name"] for each in methods[outside.METHOD]["hyperparameters"]] == ["scale", "share"]
    whole, half, mean = (
        json.loads(printed("measure", *place, "--json", "--method", *words))
        for words in ([outside.METHOD], [outside.METHOD, "--set", "share=0.5"], ["averaging"])
    )
    assert whole["mean_interference"] == pytest.approx(mean["mean_interference"], abs=1e-5)
    assert half["mean_interference"] != pytest.approx(mean["mean_interference"], abs=1e-5)
    text = printed("interference", *place, "--method", outside.METHOD, "--only", outside.ANALYSIS, "--limit", "4")
    assert text.startswith("Certainty\nMean: ")
    assert "2 measurements, 1 saved" in printed(
        "study", outside.STUDY, *place, "--set", f"method={outside.METHOD}", "--dry-run"
    )


@pytest.mark.long
def test_two_processes_know_them_too(files: list[Path], tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    place = [str(tiny), "--workspace", str(tmp_path / "w"), "--device", "cpu", *flags(files)]
    asked = [
        "--set",
        f"method={outside.METHOD}",
        "--out",
        str(tmp_path / "out"),
        "--no-images",
        "--jobs",
        "2",
        "--json",
    ]
    assert main(["study", outside.STUDY, *place, *asked]) == 0
    record = json.loads(capsys.readouterr().out)
    assert set(record["versions"]) >= {f"plug-in {path.name}" for path in files}
    assert outside.METHOD in (tmp_path / "out" / "table.csv").read_text(encoding="utf-8")


def test_all_methods_are_planned_with_a_new_one(
    files: list[Path], tiny: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
):
    place = [str(tiny), "--workspace", str(workspace), "--device", "cpu"]

    def planned(*words: str) -> int:
        capsys.readouterr()
        assert main(["study", "methods", *place, "--dry-run", *words]) == 0
        return int(capsys.readouterr().out.split()[1].replace(",", ""))

    without = planned()
    assert planned(*flags(files[:1])) > without


def test_a_broken_one_is_a_note(files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "broken.py").write_text("1 / 0", encoding="utf-8")
    assert main(["methods", "--plugin", str(tmp_path / "broken.py"), "--plugin", str(files[0])]) == 0
    out, err = capsys.readouterr()
    said = "line 1: can't be used as a plug-in: ZeroDivisionError: division by zero"
    assert err == f"note  {tmp_path / 'broken.py'}, {said}\n"
    assert outside.METHOD in out


def test_the_environment_names_them_too(
    files: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv(plugins.VARIABLE, str(files[0]))
    assert main(["methods"]) == 0
    assert outside.METHOD in capsys.readouterr().out


def test_installed_ones_are_there_but_not_in_the_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    asked: list[str] = []
    monkeypatch.setattr(plugins, "installed", lambda: ["lab"])
    monkeypatch.setattr(plugins, "load", lambda names, say: asked.append(",".join(names)))
    monkeypatch.setattr("ri_analysis.cli.app._app", lambda options: 0)
    assert main(["methods"]) == 0
    assert main(["app", "--plugin", "mine.py"]) == 0
    assert asked == ["lab", "mine.py"]


@pytest.mark.parametrize("kind", ["method", "analysis", "study"])
def test_what_new_writes_is_tidy_and_in_nobodys_place(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]):
    path = outside.write(tmp_path, kind, "my-own")
    assert capsys.readouterr().out.splitlines() == [str(path), str(tmp_path / "test_my_own.py")]
    for words in (["check", "--select", "E,F,I,B,UP,RUF"], ["format", "--check"]):
        call = [sys.executable, "-m", "ruff", *words, "--isolated", "--no-cache", "--line-length", "120", "."]
        ran = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout
    assert main(["new", kind, "my-own", "--folder", str(tmp_path)]) == 2
    assert "expected no such file yet" in capsys.readouterr().err
    assert main(["new", kind, "My own", "--folder", str(tmp_path)]) == 2
    assert "expected a name of letters" in capsys.readouterr().err


def test_what_new_writes_passes_its_own_test(tmp_path: Path):
    """Those of an analysis and a study open the embedded suite, and take long; they are run by hand."""
    outside.write(tmp_path, "method", "my-own")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout
