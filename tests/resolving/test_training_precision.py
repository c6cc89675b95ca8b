from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ri_analysis.encoder import Encoder, architecture_of, products
from ri_analysis.resolving import Losses, resolve
from ri_analysis.suite import Suite, open_suite
from ri_analysis.training import descent, precision
from ri_analysis.training.settings import SCHEDULES

QUICK = {"steps": 8, "lr": 1e-3, "batch": 16}


@pytest.fixture
def suite(tiny: Path, workspace: Path) -> Suite:
    return open_suite(str(tiny), workspace)


@pytest.mark.parametrize("parameters", ["all", "last-blocks"])
def test_bfloat16_ends_near_float32(suite: Suite, tmp_path: Path, parameters: str) -> None:
    ends: dict[str, list[Losses]] = {}
    for number_format in ("float32", "bfloat16"):
        ends[number_format] = []
        settings = QUICK | {"precision": number_format, "parameters": parameters, "blocks": 1}
        folder = tmp_path / number_format
        resolve(
            suite,
            auxiliary="other",
            name="x",
            settings=settings,
            directory=folder,
            report=ends[number_format].append,
        )
    exact, quick = ends.values()
    assert quick[0].keep == pytest.approx(0, abs=1e-4)  # teacher and student round alike
    assert [item.loss for item in quick] == pytest.approx([item.loss for item in exact], rel=0.05, abs=2e-3)
    assert [item.loss for item in quick] != [item.loss for item in exact]
    written = load_file(tmp_path / "bfloat16" / "Reds.safetensors")
    assert {tensor.dtype for tensor in written.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("seconds", "losses", "chosen"),
    [
        ((3.0, 1.0), ([0.5, 0.4], [0.504, 0.397]), "bfloat16"),
        ((3.0, 2.8), ([0.5, 0.4], [0.5, 0.4]), "float32"),
        ((3.0, 1.0), ([0.5, 0.4], [0.5, 0.45]), "float32"),
    ],
)
def test_auto_asks_for_speed_and_agreement(
    suite: Suite,
    monkeypatch: pytest.MonkeyPatch,
    seconds: tuple[float, float],
    losses: tuple[list[float], list[float]],
    chosen: str,
) -> None:
    encoder = Encoder(architecture_of(suite))

    def trial() -> tuple[list[float], float]:
        place = 0 if encoder.autocast is None else 1
        return losses[place], seconds[place]

    assert precision.decide("auto", encoder, trial) == "float32"  # a small tower is not tried
    monkeypatch.setattr(precision, "LARGE", 0)
    assert precision.decide("auto", encoder, trial) == chosen
    assert precision.decide("bfloat16", encoder, trial) == "bfloat16"


def test_a_trial_leaves_no_trace_and_its_answer_is_kept(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = resolve(suite, auxiliary="other", name="x", settings=QUICK, directory=tmp_path / "plain")
    assert suite.tasks  # the suite's own sets are as before
    monkeypatch.setattr(precision, "LARGE", 0)
    monkeypatch.setattr(products, "pays", lambda: False)
    monkeypatch.setattr(precision, "FASTER", 1e9)
    tried = resolve(suite, auxiliary="other", name="x", settings=QUICK, directory=tmp_path / "tried")
    for task in suite.tasks:
        name = f"{task}.safetensors"
        assert (tried / name).read_bytes() == (plain / name).read_bytes()
    monkeypatch.setattr(precision, "FASTER", 0.0)
    monkeypatch.setattr(precision, "LEAST", 1.0)
    quick = resolve(suite, auxiliary="other", name="x", settings=QUICK, directory=tmp_path / "quick")
    assert (quick / "Reds.safetensors").read_bytes() != (plain / "Reds.safetensors").read_bytes()
    assert '"precision": "bfloat16"' in (quick / "resolve.json").read_text()


def test_a_trial_takes_the_first_steps_of_the_run_itself(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a schedule of its own it would begin at the highest rate, from which large towers take harm."""
    rates, own = list[float](), SCHEDULES["warm-cosine"]

    def noted(step: int, steps: int) -> float:
        rates.append(own(step, steps))
        return rates[-1]

    monkeypatch.setattr(precision, "LARGE", 0)
    monkeypatch.setitem(descent.SCHEDULES, "warm-cosine", noted)
    settings = {"steps": 40, "lr": 1e-3, "batch": 16, "schedule": "warm-cosine", "precision": "auto"}
    resolve(suite, auxiliary="other", name="x", settings=settings, tasks=("Reds", "Blues"), directory=tmp_path / "x")
    assert rates[:6] == 2 * [0.25, 0.5, 0.75]  # in float32, then in bfloat16
    assert rates[6:86] == 2 * [own(step, 40) for step in range(1, 41)]
