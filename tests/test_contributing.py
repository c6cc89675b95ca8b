"""What CONTRIBUTING.md says is so: the floors are those that are checked, and the worked examples work."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tiny import TASKS, make_suite
from worked import DOCUMENT, ROOT, examples

# Runs every command in one process, as loading torch takes seconds; [exit code, stdout, stderr] of each as JSON.
PROGRAM = """
import contextlib, io, json, sys
from ri_analysis.cli import main
answers = []
for command in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(command)
    answers.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(answers))
"""


def commands(suite: Path, out: Path) -> dict[str, list[str]]:
    common = [str(suite), "--workspace", str(suite.parent / "workspace"), "--device", "cpu"]
    measure = ["measure", *common, "--method"]
    confidence = ["interference", *common, "--only", "confidence"]
    return {
        "methods": ["methods", "--json"],
        "trimmed": [*measure, "trimmed-mean", "--set", "trim=0", "--json"],
        "median": [*measure, "trimmed-mean", "--set", "trim=0.34", "--json"],
        "mean": [*measure, "averaging", "--json"],
        "interference": [*confidence, "--json"],
        "text": confidence,
        "dry run": ["study", "pairs", *common, "--dry-run"],
        "study": ["study", "pairs", *common, "--out", str(out), "--no-images", "--json"],
    }


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the three examples in their rooms."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(ROOT / "ri_analysis", folder / "ri_analysis", ignore=shutil.ignore_patterns("__pycache__"))
    for path, source in examples().items():
        assert not (folder / path).exists()
        (folder / path).write_text(source, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def answers(extended: Path) -> dict[str, str]:
    """What the commands of the extended package print."""
    asked = commands(make_suite(extended / "suite"), extended / "out")
    environment = os.environ | {"PYTHONPATH": str(extended), "XDG_DATA_HOME": str(extended / "data")}
    call = [sys.executable, "-c", PROGRAM, json.dumps(list(asked.values()))]
    ran = subprocess.run(call, capture_output=True, text=True, cwd=extended, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    found = dict(zip(asked, json.loads(ran.stdout), strict=True))
    assert {name: err for name, (code, _, err) in found.items() if code} == {}
    return {name: out for name, (_, out, _) in found.items()}


def contracts() -> list[dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return found


def test_the_floors_are_those_that_are_checked():
    floors, _ = contracts()
    checked = [[name.removeprefix("ri_analysis.") for name in floor.split(" | ")] for floor in floors["layers"]]
    section = DOCUMENT.read_text(encoding="utf-8").partition("## The floors")[2].partition("\n## ")[0]
    written = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in section.splitlines() if line.startswith("| `")]
    assert written == checked


def test_no_view_is_left_out_where_views_may_not_know_of_another():
    _, views = contracts()
    found = {path.stem for path in (ROOT / "ri_analysis" / "views").iterdir() if not path.name.startswith("__")}
    parts = {"estimate", "map"}  # of resolving and of embeddings
    assert {name.rpartition(".")[2] for name in views["modules"]} == found - parts


def test_every_module_and_room_has_a_floor():
    section = DOCUMENT.read_text(encoding="utf-8").partition("## The floors")[2].partition("\n## ")[0]
    inside = {path.stem for path in (ROOT / "ri_analysis").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert inside - {"__init__", "__pycache__"} <= set(re.findall(r"`(\w+)`", section))


def test_examples_are_one_file_each_and_pass_the_checks(extended: Path):
    assert [Path(path).parent.name for path in examples()] == ["merging", "analyses", "studies"]
    for words in (["check"], ["format", "--check"]):
        call = [sys.executable, "-m", "ruff", *words, "--config", str(ROOT / "pyproject.toml"), "--no-cache"]
        ran = subprocess.run([*call, *examples()], cwd=extended, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_method_is_listed_and_measured(answers: dict[str, str]):
    methods = {method["name"]: method for method in json.loads(answers["methods"])}
    assert [each["name"] for each in methods["trimmed-mean"]["hyperparameters"]] == ["scale", "trim"]
    mean, trimmed, median = (json.loads(answers[name]) for name in ("mean", "trimmed", "median"))
    assert median["recipe"]["method"] == "trimmed-mean"
    # With nothing left out it is the mean; of three experts without one at each end it is the median.
    assert trimmed["mean_interference"] == pytest.approx(mean["mean_interference"], abs=1e-5)
    assert median["mean_interference"] != pytest.approx(mean["mean_interference"], abs=1e-5)


def test_the_analysis_is_in_the_command_line(answers: dict[str, str]):
    found = json.loads(answers["interference"])["analyses"]["confidence"]
    table = found["tables"]["confidence"]
    assert [row["task"] for row in table] == list(TASKS)
    assert all(1 / TASKS[row["task"]] <= row["confidence"] <= 1 for row in table)
    assert found["says"] in answers["text"]


def test_the_study_plans_and_runs(answers: dict[str, str], extended: Path):
    assert answers["dry run"].startswith("pairs: 6 measurements, none saved")
    assert json.loads(answers["study"])["study"] == "pairs"
    written = {path.name for path in (extended / "out").iterdir()}
    assert {"table.csv", "table.parquet", "pairs.html", "manifest.json"} <= written
