"""Studies measure in bfloat16 where it is faster and says the same, and say so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ri_analysis.cli import main
from ri_analysis.encoder import Encoder
from ri_analysis.engine import Evaluator, precision
from ri_analysis.studies.conducting.point import Point


def fresh(evaluator: Evaluator, number_format: torch.dtype | None = None) -> Evaluator:
    return Evaluator(evaluator.suite, evaluator.store.workspace, "cpu", number_format=number_format)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Take every tower for a large one, on which bfloat16 is fast."""
    monkeypatch.setattr(precision, "LARGE", 0)
    monkeypatch.setattr(precision, "FASTER", 0.0)
    return monkeypatch


def test_a_small_tower_stays_with_float32(evaluator: Evaluator):
    assert evaluator.number_format == torch.float32


def test_points_in_bfloat16_agree_and_are_kept_apart(evaluator: Evaluator, large: pytest.MonkeyPatch):
    quick, exact = fresh(evaluator), fresh(evaluator, torch.float32)
    assert (quick.number_format, exact.number_format) == (torch.bfloat16, torch.float32)
    point = Point(evaluator.recipe("task-arithmetic", {"scale": 0.5}))
    found, expected = point.compute(quick), point.compute(exact)
    for task, values in expected.divergence.items():
        np.testing.assert_allclose(found.divergence[task], values, atol=0.02)
    assert not all(np.array_equal(found.divergence[task], values) for task, values in expected.divergence.items())


@pytest.mark.parametrize(("name", "value"), [("NATS", -1.0), ("SHIFT", -1.0), ("FASTER", 1e9)])
def test_where_it_disagrees_or_is_slow_float32_stays(
    evaluator: Evaluator, large: pytest.MonkeyPatch, name: str, value: float
):
    large.setattr(precision, name, value)
    assert evaluator.number_format == torch.float32


def test_it_is_decided_once(evaluator: Evaluator, large: pytest.MonkeyPatch):
    assert not evaluator._trial.done
    assert not evaluator.kept(evaluator.recipe("averaging"))  # and nothing was tried for that
    assert not evaluator._trial.done
    assert evaluator.number_format == torch.bfloat16
    large.setattr(precision.Trial, "run", lambda *_: pytest.fail("the store knows"))
    assert fresh(evaluator).number_format == torch.bfloat16


def test_the_trial_compares_with_a_pass_of_its_own(evaluator: Evaluator):
    told: list[tuple[int, int]] = []
    found = evaluator._trial.run(lambda done, total: told.append((done, total)))
    assert told[-1] == (48, 48)  # 24 images among three tasks, in two formats
    nats = []
    for task in evaluator.suite.tasks:
        images, head = evaluator.suite.task_data(task), evaluator.heads[task].weight
        outputs = []
        for dtype in (torch.float32, torch.bfloat16):
            encoder = Encoder(evaluator.architecture, dtype=dtype)
            features = encoder.features(evaluator.suite.zero_shot, images)
            assert features.dtype == torch.float32
            outputs.append(torch.log_softmax(features @ head.T, dim=1))
        exact, quick = outputs
        nats.append(float((exact.exp() * (exact - quick)).sum(dim=1).mean()))
    # The trial sees some of the images, this all of them: the same order of magnitude.
    assert 0.1 < found["nats"] / np.mean(nats) < 10


def test_the_command_says_which_format_and_takes_another(
    tiny: Path, tmp_path: Path, large: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    common = ["--workspace", str(tmp_path / "w"), "--device", "cpu", "--no-images", "--set", "methods=ties"]
    for flags, expected in (([], "bfloat16"), (["--float32"], "float32")):
        out = tmp_path / expected
        assert main(["study", "joint", str(tiny), *common, "--dry-run", *flags]) == 0
        assert f"to encode in {expected}\n" in capsys.readouterr().out
        assert main(["study", "joint", str(tiny), *common, "--out", str(out), *flags]) == 0
        manifest = json.loads((out / "manifest.json").read_text())
        assert manifest["number_format"] == expected
        assert manifest["points_from_store"] == 0
