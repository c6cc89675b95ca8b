"""A merge of the experts as far as they are adapted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ri_analysis.engine import Evaluator
from ri_analysis.engine import merge_probe as module
from ri_analysis.engine.merge_probe import Gain, MergeProbe
from ri_analysis.errors import InputError
from ri_analysis.resolving import Losses, plan, resolve

SETTINGS = {"steps": 3, "lr": 1e-2, "batch": 16}


def test_a_probe_merges_what_is_finished_with_the_originals(evaluator: Evaluator) -> None:
    suite = evaluator.suite
    folder = resolve(suite, auxiliary="other", name="made", settings=SETTINGS)
    part = folder.parent / "part"
    part.mkdir()
    (part / "Blues.safetensors").write_bytes((folder / "Blues.safetensors").read_bytes())
    found = dict(MergeProbe(evaluator, part, suite.tasks, "averaging")._model(("Blues",)).weights(None))
    vectors, adapted = suite.task_vectors(), load_file(part / "Blues.safetensors")
    for name, tensor in found.items():
        others = [vectors.expert(name, task) for task in suite.tasks if task != "Blues"]
        assert torch.allclose(tensor, sum(others, adapted[name]) / 3, atol=1e-6)


def test_the_last_probe_says_what_the_finished_set_gains(evaluator: Evaluator) -> None:
    suite, reports = evaluator.suite, list[Gain | None]()
    probe = MergeProbe(evaluator, plan.folder_of(suite, "made"), suite.tasks, "task-arithmetic")

    def report(_: Losses) -> None:
        reports.append(probe.after())

    resolve(suite, auxiliary="other", name="made", settings=SETTINGS, report=report)
    last = probe.after()
    assert probe.after() is None  # nothing new
    assert [gain for gain in reports if gain] + [last] == probe.gains
    assert probe.gains[0].finished == 1
    assert last is not None
    assert last.finished == last.experts == 3
    recipe = evaluator.recipe("task-arithmetic")
    before, after = (
        evaluator.measure(each, split="validation", limit=32) for each in (recipe, recipe.with_experts("made"))
    )
    assert last.change == pytest.approx(after.mean_accuracy[0] - before.mean_accuracy[0])
    assert last.low <= last.change <= last.high
    assert last.n == after.n == 36


def test_what_would_take_too_much_of_the_run_is_left_out(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, tasks, folder = [0.0], evaluator.suite.tasks, evaluator.store.workspace / "new"
    folder.mkdir(parents=True)
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    probe = MergeProbe(evaluator, folder, tasks, "averaging")

    def measure(finished: tuple[str, ...], _: object) -> Gain:
        clock[0] += 2.0  # seconds
        return Gain(len(finished), 3, 0.0, 0.0, 0.0, 36)

    monkeypatch.setattr(probe, "_measure", measure)
    assert probe.after() is None  # nothing is finished
    for seconds, task, made in ((10, tasks[0], True), (30, tasks[1], False), (79, "", True)):
        clock[0] = float(seconds)
        (folder / f"{task}.safetensors").touch()
        if seconds == 79:  # 2 s so far and 2 s more are 5 % of 80 s
            assert probe.after() is None
            clock[0] = 80.0
        assert (probe.after() is not None) is made
    clock[0] += 1
    (folder / f"{tasks[2]}.safetensors").touch()
    assert probe.after() is not None  # the last, whatever it takes


def test_a_probe_that_cannot_be_is_refused(evaluator: Evaluator, tiny: Path) -> None:
    with pytest.raises(InputError, match="regmean learns from images itself"):
        MergeProbe(evaluator, tiny.parent, evaluator.suite.tasks, "regmean")
