from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from shown import text
from streamlit.testing.v1 import AppTest

from ri_analysis.engine import Evaluator
from ri_analysis.suite import open_suite
from ri_analysis.ui import resources


def _numbers(app: AppTest) -> list[str]:
    return [metric.value for metric in app.metric]


def _expected(tiny: Path, workspace: Path) -> float:
    evaluator = Evaluator(open_suite(str(tiny), workspace), workspace, "cpu")
    return evaluator.measure(evaluator.recipe("task-arithmetic", experts="ri")).mean_interference[0]


def test_a_suite_of_which_a_file_was_replaced_is_opened_anew_with_a_notice(
    app: AppTest, tiny: Path, tmp_path: Path
) -> None:
    app.run()
    assert not app.exception
    before, path = _numbers(app), tiny.parent / "original" / "Reds.safetensors"
    app.run()
    assert not app.toast
    times, other = path.stat(), tiny.parent / "original" / "Reds.new"
    save_file({key: value + 0.2 * torch.randn_like(value) for key, value in load_file(path).items()}, other)
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.rename(path)  # equal in size and time
    app.run()
    assert not app.exception
    assert [item.value.replace("\\", "") for item in app.toast] == [
        "suite/original/Reds.safetensors: changed since it was opened; the suite was reopened."
    ]
    after = _numbers(app)
    assert after != before
    assert f"{_expected(tiny, tmp_path / 'fresh'):.3f}" in " ".join(after)
    app.run()
    assert not app.toast
    assert _numbers(app) == after


def test_a_workspace_that_is_removed_under_the_app_is_noticed_and_said(app: AppTest, workspace: Path) -> None:
    app.run()
    assert not app.sidebar.warning
    numbers = _numbers(app)
    shutil.rmtree(workspace)
    resources.memory.clear()
    app.run().run()
    assert not app.exception
    assert "was removed or replaced while it was open" in app.sidebar.warning[0].value
    assert (workspace / "store.sqlite").is_file()
    assert _numbers(app) == numbers


def test_another_session_is_told_too(start, tiny: Path) -> None:
    first, second = start(tiny).run(), start(tiny).run()
    path = tiny.parent / "head-Reds.safetensors"
    path.write_bytes(path.read_bytes())
    for session in (first, second):
        session.run()
        assert not session.exception
        assert "suite/head-Reds.safetensors: changed" in session.toast[0].value


def test_a_file_that_is_gone_is_a_finding_and_one_that_is_back_opens(app: AppTest, tiny: Path) -> None:
    app.run()
    path = tiny.parent / "original" / "Blues.safetensors"
    content = path.read_bytes()
    path.unlink()
    app.run()
    assert not app.exception
    assert "Blues.safetensors: expected a checkpoint, found none" in text(app).replace("\\", "")
    path.write_bytes(content)
    app.button(key="opening.again").click().run()
    assert not app.exception
    assert app.metric


def test_a_file_that_changes_while_a_page_measures_opens_the_suite_anew(app: AppTest, tiny: Path, monkeypatch) -> None:
    path, measure, done = tiny.parent / "original" / "Greens.safetensors", Evaluator.measure, []
    new = (tiny.parent / "resolved" / "mild" / "Greens.safetensors").read_bytes()

    def interrupted(evaluator: Evaluator, *arguments: object, **options: object) -> object:
        if not done:
            done.append(path.write_bytes(new))
        return measure(evaluator, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Evaluator, "measure", interrupted)
    app.run()
    assert done
    assert not app.exception
    assert not app.error
    assert app.metric
    assert "Greens.safetensors: changed since it was opened" in app.toast[0].value.replace("\\", "")
