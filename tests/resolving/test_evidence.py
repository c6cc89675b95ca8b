"""What a run shows of itself on images that it never trains on, and how patience ends it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ri_analysis.encoder import Encoder, architecture_of, load_heads
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.resolving import HeldOut, Losses, evidence, record_of, resolve, unfinished
from ri_analysis.suite import Suite, open_suite
from ri_analysis.training import descent

SHORT = {"steps": 6, "lr": 1e-3, "batch": 16, "held_out": 0.25}


@pytest.fixture
def suite(tiny: Path, workspace: Path) -> Suite:
    return open_suite(str(tiny), workspace)


def run(suite: Suite, name: str, settings: dict[str, Any], **more: Any) -> Path:
    return resolve(suite, auxiliary="other", name=name, tasks=("Reds", "Blues"), settings=SHORT | settings, **more)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    files = {task: load_file(folder / f"{task}.safetensors") for task in ("Reds", "Blues")}
    return {f"{task} {key}": tensor for task, file in files.items() for key, tensor in file.items()}


def test_what_is_set_aside_is_never_trained_on() -> None:
    taught = evidence.training_images(40, 0.25, seed=3)
    assert len(taught) == 30
    assert np.array_equal(taught, evidence.training_images(40, 0.25, seed=3))
    assert not np.array_equal(taught, evidence.training_images(40, 0.25, seed=4))
    assert np.array_equal(evidence.training_images(40, 0.0, seed=3), np.arange(40))
    settings = {"steps": 6, "batch": 16, "patience": 0}
    held = evidence.held_out(40, taught, settings, seed=3)
    assert sorted([*held, *taught]) == list(range(40))
    with pytest.raises(InputError, match=r"held_out: 0\.01 of 40 images sets 0 aside"):
        evidence.training_images(40, 0.01, seed=3)


def test_looks_cost_a_share_of_the_run() -> None:
    settings = {"steps": 120, "batch": 64, "patience": 0}
    # 6 steps of 64 images, forward and back, cost as much as looking at 3 · 6 · 64 = 1152 images; 5% of these are 58.
    assert len(evidence.held_out(1000, np.arange(500), settings, 0)) == 58
    assert len(evidence.held_out(1000, np.arange(500), settings | {"steps": 2500}, 0)) == evidence.MOST
    assert len(evidence.held_out(1000, np.arange(1000), settings, 0)) == 0
    with pytest.raises(InputError, match="patience: every auxiliary image is used for training"):
        evidence.held_out(1000, np.arange(1000), settings | {"patience": 1}, 0)


def test_nothing_is_written_where_patience_has_nothing_to_look_at(suite: Suite, workspace: Path) -> None:
    with pytest.raises(InputError, match=r"held_out=0\.05"):
        run(suite, "blind", {"held_out": 0.0, "patience": 2})
    assert not list(workspace.rglob("run.json"))


@pytest.mark.parametrize("choice", [{}, {"parameters": "last-blocks", "blocks": 1}, {"parameters": "lora", "rank": 2}])
@pytest.mark.parametrize("held_out", [0.0, 0.25])
def test_training_is_the_same_to_the_bit_with_and_without_looks(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, choice: dict[str, Any], held_out: float
) -> None:
    settings = choice | {"held_out": held_out, "steps": 2, "batch": 4}  # which does not reach all images
    looked = weights(run(suite, "looked", settings))
    assert record_of(suite, "looked")["held_out"]["images"] > 0
    monkeypatch.setattr(evidence, "MOST", 0)
    blind = weights(run(suite, "blind", settings))
    assert record_of(suite, "blind")["held_out"] == {"images": 0, "looks": {}}
    assert all(torch.equal(looked[key], blind[key]) for key in looked)


@pytest.mark.parametrize("distance", ["kl", "mse"])
def test_looks_agree_with_a_plain_reading_of_the_objective(suite: Suite, distance: str) -> None:
    """The first look is at the expert, the last at what is written: computed here with probabilities and loops."""
    folder = run(suite, "watched", {"distance": distance, "alpha": 0.5})
    record = record_of(suite, "watched")
    looks = [HeldOut(*row) for row in record["held_out"]["looks"]["Blues"]]
    assert [look.step for look in looks] == list(range(7))
    architecture = architecture_of(suite)
    images, encoder = suite.auxiliary_data("other"), Encoder(architecture)
    held = evidence.held_out(40, evidence.training_images(40, 0.25, 0), record["settings"], 0)
    heads = load_heads(suite, architecture, ("Reds", "Blues"))
    vectors = suite.task_vectors()
    expert = {name: vectors.expert(name, "Blues") for name in vectors.names}
    own, before = encoder.features(expert, images, held), encoder.features(suite.zero_shot, images, held)

    def mean(head: torch.Tensor, teacher: torch.Tensor, student: torch.Tensor, kind: str) -> float:
        found = []
        for one, other in zip(teacher.double() @ head.double().T, student.double() @ head.double().T, strict=True):
            p, q = torch.softmax(one, 0), torch.softmax(other, 0)
            found.append(float((p * (p / q).log()).sum() if kind == "kl" else ((one - other) ** 2).mean()))
        return float(np.mean(found))

    for look, model in ((looks[0], expert), (looks[-1], load_file(folder / "Blues.safetensors"))):
        now = encoder.features(model, images, held)
        keep = mean(heads["Blues"].weight, own, now, distance)
        free = mean(heads["Reds"].weight, before, now, distance)
        assert look.keep == pytest.approx(keep, rel=1e-3, abs=1e-6)
        assert look.free == pytest.approx(free, rel=1e-3)
        assert look.loss == pytest.approx(keep + 0.5 * free, rel=1e-3)
        assert look.crosstalk == pytest.approx(mean(heads["Reds"].weight, before, now, "kl"), rel=1e-3)
    assert looks[0].keep == pytest.approx(0, abs=1e-6)


class Scripted(evidence.Watch):
    """A watch that sees the losses it was told."""

    def __init__(self, losses: list[float], patience: int) -> None:
        settings = {"steps": len(losses) - 1, "patience": patience}
        super().__init__(None, np.zeros(0), (None, None), None, None, settings, 1)  # type: ignore[arg-type]
        self._losses = losses

    def _look(self, step: int) -> HeldOut:
        return HeldOut(step, 0.0, 0.0, self._losses[step], 0.0)


@pytest.mark.parametrize(
    ("losses", "patience", "last", "best"),
    [
        ([5, 4, 3, 3, 3, 1, 1], 2, 4, 2),  # the same is no progress; the first of equals is kept
        ([5, 4, 3, 3, 3, 1, 1], 3, 6, 5),
        ([5, 6, 7, 8, 9], 1, 1, 0),  # the expert itself is better than any step
        ([5, 6, 4, 6, 7], 0, 4, None),  # without patience the run goes to its end and keeps the last
    ],
)
def test_patience_ends_a_run_and_keeps_the_best(
    losses: list[float], patience: int, last: int, best: int | None
) -> None:
    watch, variable, step = Scripted(losses, patience), torch.zeros(1), 0
    watch.after(0, {"x": variable})
    while step < len(losses) - 1 and not watch.over:
        step += 1
        variable += 1
        watch.after(step, {"x": variable})
    watch.keep_best({"x": variable})
    assert step == last
    assert variable.item() == (last if best is None else best)


def test_a_run_that_only_gets_worse_is_ended_and_changes_nothing(suite: Suite) -> None:
    """With a rate that spoils the expert, the first look stays the best: what is written is the expert."""
    folder = run(suite, "spoilt", {"lr": 1.0, "patience": 2, "steps": 60})
    record, vectors = record_of(suite, "spoilt"), suite.task_vectors()
    looks = record["held_out"]["looks"]["Reds"]
    assert [look[0] for look in looks] == [0, 3, 6]
    assert record["history"]["Reds"][-1][0] == 6
    written = load_file(folder / "Reds.safetensors")
    assert all(torch.equal(written[name], vectors.expert(name, "Reds")) for name in vectors.names)


def test_reports_hold_every_look_also_after_a_resumed_start(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descent, "SAVE_SECONDS", -1.0)
    reports: list[Losses] = []

    def stop(now: Losses) -> None:
        reports.append(now)
        if now.step == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        run(suite, "half", {}, report=stop)
    reports.clear()
    run(suite, "half", {}, report=reports.append, resume=True)
    assert reports[0].step == 4
    assert [look.step for look in reports[0].held_out] == [0, 1, 2, 3, 4]
    assert [list(look) for look in reports[-1].held_out] == record_of(suite, "half")["held_out"]["looks"]["Blues"]


def test_a_run_of_a_version_without_held_out_images_is_resumed(suite: Suite) -> None:
    def stop(now: Losses) -> None:
        if now.task == "Blues":
            raise Cancelled

    with pytest.raises(Cancelled):
        run(suite, "half", {"held_out": 0.0}, report=stop)
    assert suite.resolved_folder is not None
    noted = suite.resolved_folder / "half" / "run.json"
    plan = json.loads(noted.read_text())
    del plan["settings"]["held_out"], plan["settings"]["patience"]
    noted.write_text(json.dumps(plan))
    assert unfinished(suite)["half"].obstacle(suite) == ""
    with pytest.raises(InputError, match="differs in settings"):
        run(suite, "half", {"held_out": 0.25}, resume=True)
    run(suite, "half", {"held_out": 0.0}, resume=True)
    assert record_of(suite, "half")["settings"]["held_out"] == 0.0
