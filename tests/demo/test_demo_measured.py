from __future__ import annotations

from pathlib import Path

import pytest

from ri_analysis.demo.measured import best_scale, main, sweep
from ri_analysis.engine import Evaluator
from ri_analysis.resolving import resolve

START, END = "<!-- measured: start -->", "<!-- measured: end -->"


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_the_readme_gets_what_the_engine_measures(tiny: Path, workspace: Path, evaluator: Evaluator):
    resolve(evaluator.suite, auxiliary="noise", name="second", settings={"steps": 1, "batch": 4}, seed=1)
    readme = tiny.parent / "README.md"
    readme.write_text(f"above\n{START}\nold\n{END}\nbelow\n", encoding="utf-8")
    assert main([str(tiny.parent), "--seeds", "second", "--workspace", str(workspace)]) == 0
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("above\n")
    assert text.endswith("\nbelow\n")
    assert "old" not in text
    found = sweep(evaluator, "ties", "mild")
    best = found[best_scale(found)]
    row = next(row for row in rows(text) if row[:2] == ["ties", "mild"])
    assert row[3].startswith(f"{best.mean_accuracy[0]:.3f} [")
    assert row[4] == f"{best.mean_interference[0]:.3f}"
    spread = next(row for row in rows(text) if row[0] == "ties, accuracy at best λ")
    assert float(spread[2]) - 5e-4 <= best.mean_accuracy[0] <= float(spread[3]) + 5e-4


def test_a_readme_without_marks_is_left_alone(tiny: Path, workspace: Path, capsys: pytest.CaptureFixture[str]):
    readme = tiny.parent / "README.md"
    readme.write_text("nothing here\n", encoding="utf-8")
    assert main([str(tiny.parent), "--workspace", str(workspace)]) == 2
    assert START in capsys.readouterr().err
    assert readme.read_text(encoding="utf-8") == "nothing here\n"
