from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import MODEL

from ri_analysis.cli import main
from ri_analysis.cli.suites import _verdict
from ri_analysis.engine.check import Finding, Report
from ri_analysis.merging import METHODS


class Shell:
    """Runs the command line on the tiny suite with a workspace of its own."""

    def __init__(self, suite: Path, workspace: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.suite, self._workspace, self._capture = suite, workspace, capture

    def __call__(self, command: str, *arguments: str) -> tuple[int, str, str]:
        options = [] if command == "check" else ["--workspace", str(self._workspace), "--device", "cpu"]
        code = main([command, str(self.suite), *options, *arguments])
        output = self._capture.readouterr()
        return code, output.out, output.err

    def json(self, command: str, *arguments: str) -> Any:
        code, out, _ = self(command, *arguments, "--json")
        assert code == 0
        return json.loads(out)


@pytest.fixture
def shell(tiny: Path, workspace: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tiny, workspace, capsys)


def test_measure_prints_the_contracts_object(shell: Shell) -> None:
    found = shell.json(
        "measure", "--method", "ties", "--set", "scale=0.5", "--experts", "ri", "--coefficient", "Reds=2"
    )
    keys = ["suite", "recipe", "mean_accuracy", "mean_accuracy_low", "mean_accuracy_high", "mean_interference", "tasks"]
    assert set(keys) <= set(found)
    assert found["recipe"]["hyperparameters"] == {"scale": 0.5, "density": 0.2, "merge": "sum"}
    assert found["recipe"]["experts"] == "mild"
    assert found["recipe"]["coefficients"] == {"Reds": 2.0}
    row = found["tasks"][0]
    assert set(row) >= {
        *("task", "accuracy", "accuracy_low", "accuracy_high", "expert_accuracy", "zero_shot_accuracy"),
        *("normalised_accuracy", "interference", "interference_low", "interference_high", "n"),
    }
    assert found["mean_accuracy"] == pytest.approx(np.mean([task["accuracy"] for task in found["tasks"]]))
    assert found["mean_interference"] == pytest.approx(np.mean([task["interference"] for task in found["tasks"]]))


def test_measure_says_what_differs_from_another_recipe(shell: Shell) -> None:
    other = "--method ties --experts ri --tasks Reds,Greens"
    found = shell.json("measure", "--experts", "ri", "--against", other)["difference"]
    low, value, high = (found[f"accuracy_change{end}"] for end in ("_low", "", "_high"))
    assert low <= value <= high
    same = shell.json("measure", "--experts", "ri", "--against", "--experts ri")["difference"]
    assert set(same.values()) == {0.0}
    code, out, _ = shell("measure", "--experts", "ri", "--against", other)
    assert code == 0
    assert f"difference of accuracy: {value:+.4f}" in out
    assert "expected a recipe's flags" in shell("measure", "--against", "'")[2]
    assert "unknown" in shell("measure", "--against", "--method tise")[2]
    expected = "--against: expected a recipe's flags, found 'ties': unrecognized arguments: ties"
    assert shell("measure", "--against", "ties")[2].splitlines()[-1] == f"ri-analysis: {expected}"


def test_measure_prints_a_table(shell: Shell) -> None:
    code, out, err = shell("measure", "--tasks", "Reds,Blues", "--split", "validation", "--lines", "0.5,0.5")
    assert code == 0
    assert out.splitlines()[0].split()[:2] == ["task", "accuracy"]
    assert "Greens" not in out
    assert "mean interference" in out
    assert all(line.startswith("note  ") for line in err.splitlines())


def test_measure_reads_somebody_elses_merge(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "theirs.pt"
    torch.save({"state_dict": load_file(shell.suite.parent / "original" / "Reds.safetensors")}, path)
    found = shell.json("measure", "--merged", str(path))
    assert found["tasks"][0]["interference"] == pytest.approx(0, abs=1e-6)
    assert found["tasks"][0]["accuracy"] == found["tasks"][0]["expert_accuracy"]


def test_resolve_makes_a_set_that_measure_finds(shell: Shell) -> None:
    found = shell.json("resolve", "--auxiliary", "other", "--name", "mine", "--steps", "3", "--set", "lr=1e-4")
    assert found["settings"]["steps"] == 3
    assert found["settings"]["lr"] == 1e-4
    assert len(found["history"]["Reds"]) == 3
    assert shell.json("measure", "--experts", "mine")["recipe"]["experts"] == "mine"
    quick = ["--preset", "quick", "--steps", "2", "--set", "blocks=1", "--alpha", "Reds=0.5", "--alpha", "Blues=2"]
    found = shell.json("resolve", "--auxiliary", "other", "--name", "quick", *quick)
    assert found["settings"]["alphas"] == "Reds=0.5,Blues=2"
    assert {"parameters": "last-blocks", "blocks": 1, "steps": 2, "batch": 64}.items() <= found["settings"].items()
    assert "did you mean 'quick'" in shell("resolve", "--auxiliary", "other", "--name", "x", "--preset", "quik")[2]
    code, out, _ = shell("resolve", "--auxiliary", "noise", "--name", "two", "--steps", "2", "--tasks", "Reds,Blues")
    assert code == 0
    assert "two: 2 experts in" in out


def test_a_dry_run_says_what_a_run_takes_and_writes_nothing(shell: Shell, workspace: Path) -> None:
    asked = [
        "resolve",
        "--auxiliary",
        "other",
        "--name",
        "new",
        "--preset",
        "quick",
        "--set",
        "batch=4",
        "--set",
        "held_out=0.05",
        "--dry-run",
    ]
    code, out, _ = shell(*asked)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["Time", "Memory", "Disk", "Images", "Writes"]
    assert "120 steps of" in out
    assert f"3 experts and resolve.json in {workspace}" in out
    found = shell.json(*asked)
    assert found["passes"] == 3 * 120 * 4
    assert found["images"] == 40
    assert found["held_out"] == 2
    assert not list(workspace.rglob("run.json"))
    assert "found --resume" in shell(*asked, "--resume")[2]
    assert "expected one process, found --jobs" in shell(*asked, "--jobs", "2")[2]
    assert "exists already" in shell(*[{"new": "mild"}.get(item, item) for item in asked])[2]


def test_a_run_says_how_it_fares_on_held_out_images_and_what_a_merge_gains(shell: Shell) -> None:
    asked = ["--auxiliary", "other", "--steps", "2", "--set", "held_out=0.25", "--probe", "averaging"]
    code, out, err = shell("resolve", "--name", "seen", *asked)
    assert code == 0
    assert out.startswith("seen: 3 experts in ")
    for task in ("Reds", "Greens", "Blues"):
        said = [line for line in err.splitlines() if line.startswith(f"{task}, step ")]
        assert [line.partition(",")[2][:7] for line in said] == [" step 0", " step 1", " step 2"]
    assert "Averaging with 3 of 3 experts adapted: " in err
    assert "on 36 validation images" in err
    found = shell.json("resolve", "--name", "again", *asked)
    assert found["held_out"]["images"] == 10
    assert [len(looks) for looks in found["held_out"]["looks"].values()] == [3, 3, 3]
    assert found["probe"][-1]["finished"] == 3
    assert "learns from images itself" in shell("resolve", "--name", "x", *asked[:-1], "regmean")[2]


def test_all_expert_sets_are_measured_side_by_side(shell: Shell) -> None:
    found = shell.json("measure", "--method", "averaging", "--sets")
    assert [row["experts"] for row in found["sets"]] == ["original", "mild"]
    alone = shell.json("measure", "--method", "averaging", "--experts", "mild")
    mild = found["sets"][1]
    assert mild["accuracy"] == alone["mean_accuracy"]
    assert mild["accuracy_change"] == pytest.approx(alone["mean_accuracy"] - found["sets"][0]["accuracy"])
    assert found["sets"][0]["accuracy_change"] is None
    assert mild["n"] == 72
    code, out, _ = shell("measure", "--sets", "--limit", "4")
    assert code == 0
    assert "own accuracy" in out
    assert len(out.splitlines()) == 3
    assert "expected a recipe on test images" in shell("measure", "--sets", "--split", "validation")[2]


def test_interference_prints_who_disturbs_whom(shell: Shell) -> None:
    found = shell.json("interference", "--experts", "ri", "--blame")
    assert set(found["crosstalk"]) == {"Reds", "Greens", "Blues"}
    assert all(set(row) == set(found["crosstalk"]) for row in found["crosstalk"].values())
    code, out, _ = shell("interference")
    assert code == 0
    assert "On average an expert moves another task's predictions by" in out
    assert out.count("Which expert causes the drift?") == 0
    assert "Which expert causes the drift?" in shell("interference", "--blame")[1]


def test_merge_writes_what_measure_measures(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "merged.safetensors"
    code, out, _ = shell("merge", "--method", "ties", "--experts", "ri", "--out", str(path))
    assert (code, out) == (0, f"{path}\n")
    first = path.read_bytes()
    assert shell("merge", "--method", "ties", "--experts", "ri", "--out", str(path))[0] == 0
    assert path.read_bytes() == first
    theirs = shell.json("measure", "--merged", str(path))
    assert theirs["tasks"] == shell.json("measure", "--method", "ties", "--experts", "ri")["tasks"]


def test_open_clip_loads_what_merge_writes(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "merged.safetensors"
    assert shell("merge", "--method", "tsv-m", "--out", str(path))[0] == 0
    model = open_clip.CLIP(**MODEL["model_cfg"])
    report = open_clip.load_checkpoint(model, str(path), strict=False)
    assert report.unexpected_keys == []
    assert not [key for key in report.missing_keys if key.startswith("visual.")]  # the text tower is not merged
    loaded = model.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in load_file(path).items())


def test_methods_lists_every_declaration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "--json"]) == 0
    listed = {method["name"]: method for method in json.loads(capsys.readouterr().out)}
    assert set(listed) == set(METHODS)
    assert listed["ties"]["hyperparameters"][1]["default"] == 0.2
    assert main(["methods"]) == 0
    assert "task-arithmetic" in capsys.readouterr().out


def test_check_exits_by_what_it_finds(shell: Shell) -> None:
    code, out, _ = shell("check")
    assert (code, out.splitlines()[-1]) == (0, "the suite can be used; 3 remarks")
    (shell.suite.parent / "Reds.txt").unlink()
    code, out, _ = shell("check")
    assert code == 2
    assert "wrong" in out
    assert "Reds.txt" in out
    assert out.splitlines()[-1] == "1 problem"


def test_check_says_valid_only_without_remarks() -> None:
    assert _verdict(Report(passed=["images"])) == "the suite is valid"
    assert _verdict(Report(remarks=["a"])) == "the suite can be used; 1 remark"
    assert _verdict(Report(findings=[Finding("a", "b", "c")] * 2, remarks=["a"])) == "2 problems"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "tie"], ["unknown merging method 'tie'", "did you mean 'ties'"]),
        (["--set", "scael=1"], ["task-arithmetic", "unknown hyperparameter 'scael'", "'scale'"]),
        (["--set", "scale=much"], ["scale must be a number", "'much'"]),
        (["--set", "scale"], ["--set", "NAME=VALUE"]),
        (["--coefficient", "Pinks=1"], ["unknown task 'Pinks'"]),
        (["--coefficient", "Reds=x"], ["--coefficient Reds", "expected a number"]),
        (["--tasks", "Pinks"], ["unknown task 'Pinks'"]),
        (["--experts", "wild"], ["unknown expert set 'wild'"]),
        (["--lines", "1"], ["--lines", "ALPHA,BETA"]),
        (["--merged", "none.safetensors"], ["none.safetensors"]),
    ],
)
def test_a_bad_flag_is_one_clear_message(shell: Shell, arguments: list[str], words: list[str]) -> None:
    code, out, err = shell("measure", *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert all(word in err for word in words)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def _poison(path: Path) -> None:
    tensors = load_file(path)
    tensors["visual.proj"][0, 0] = float("inf")
    save_file(tensors, path)


def _reshape(path: Path) -> None:
    save_file(load_file(path) | {"visual.proj": torch.zeros(3, 3)}, path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (Path.unlink, ["Reds.safetensors", "found none"]),
        (_truncate, ["Reds.safetensors", "whole safetensors file"]),
        (_poison, ["Reds.safetensors", "'visual.proj' must be finite"]),
        (_reshape, ["Reds.safetensors", "'visual.proj'", "(32, 16)", "(3, 3)"]),
    ],
)
def test_a_bad_checkpoint_is_one_clear_message(shell: Shell, damage: Any, words: list[str], workspace: Path) -> None:
    damage(shell.suite.parent / "original" / "Reds.safetensors")
    for command in (["measure"], ["resolve", "--auxiliary", "noise", "--name", "x", "--steps", "1"]):
        code, out, err = shell(*command)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert all(word in err for word in words)
    assert not list(workspace.rglob("*.safetensors"))


def test_a_head_that_does_not_fit_is_one_clear_message(shell: Shell) -> None:
    (shell.suite.parent / "Reds.txt").write_text("a\nb\n")
    code, _, err = shell("measure")
    assert code == 2
    assert "head-Reds.safetensors: the head has 3 classes, the class names are 2" in err


def test_unknown_suites_and_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", "no-such-suite"]) == 2
    assert "no-such-suite" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["measure", "--nope"])
    assert stop.value.code == 2


def test_an_interrupt_is_no_traceback(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ri_analysis.engine.Evaluator.measure", interrupt)
    code, _, err = shell("measure")
    assert (code, err) == (130, "ri-analysis: stopped\n")


def test_progress_tells_the_time_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from ri_analysis.api.progress import Progress

    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    show = Progress("measuring")
    for at, done, total in ((5.0, 10, 100), (20.0, 40, 100), (21.0, 41, 100)):  # too early, told, too soon
        now[0] = at
        show(done, total)
    show.note("Reds")
    now[0] = 41.0
    show(0, 10)  # another piece of work
    now[0] = 60.0
    show(5, 10)
    show.end()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "40%  measuring: 40 of 100 images, about 30 s left"
    assert [line.partition(",")[0] for line in lines[1:]] == [
        "80%  measuring: 41 of 51 images",
        "90%  measuring: 46 of 51 images",
    ]
    assert lines[-1].endswith(" · Reds")


def test_a_terminal_shows_a_bar_that_goes_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ri_analysis.api.progress import Progress

    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    show = Progress("resolving", "steps")
    show.note("Reds")
    for done, total in ((0, 10), (4, 10), (2, 20)):
        show(done, total)
        time.sleep(0.11)
    show(3, 20)
    show.end()
    out, err = capsys.readouterr()
    assert out == ""
    for part in ("resolving", "4/10", "7/24", "Reds", " steps"):
        assert part in err
    assert err.splitlines()[-1].strip() == ""


def test_report_is_one_page_that_works_offline(shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    code, printed, _ = shell("report", "--out", str(out), "--method", "averaging")
    html = out.read_text(encoding="utf-8")
    assert code == 0
    assert printed.strip() == str(out)
    assert html.count('role="img"') == 4
    assert "ri-analysis interference" in html
    assert "--method averaging" in html
    tags = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    assert re.findall(r"""(?:src|href)=["'](?!data:|#)|@import|url\((?!data:)""", tags) == []


def test_help_answers_without_loading_torch() -> None:
    code = (
        "from ri_analysis.cli import main, run\ntry: main(['--help'])\nfinally: assert 'torch' not in run.sys.modules"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "COMMAND" in ran.stdout


@pytest.mark.parametrize(
    ("command", "said"),
    [("study", "learning rate (lr) = 0.0: "), ("resolve", "augmented views per image (views) = 1: ")],
)
def test_help_ends_with_the_settings(command: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert said in capsys.readouterr().out
