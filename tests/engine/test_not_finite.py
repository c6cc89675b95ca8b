"""Outputs that are no numbers are one message, on every way to measure; JSON that is printed always parses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ri_analysis.analyses.blocks import drift_by_block
from ri_analysis.analyses.clouds import collect
from ri_analysis.analyses.contribution import contributions
from ri_analysis.analyses.drift import measure_drift
from ri_analysis.analyses.plane import pair_plane
from ri_analysis.checkpoints import write_safetensors
from ri_analysis.cli import main
from ri_analysis.encoder import require_directions
from ri_analysis.engine import Evaluator
from ri_analysis.errors import InputError, NotFinite
from ri_analysis.json_text import to_json
from ri_analysis.live.probe import LiveProbe
from ri_analysis.merging import MergeRecipe
from ri_analysis.resolving import resolve
from ri_analysis.studies.conducting.point import Point
from ri_analysis.suite import open_suite


@pytest.fixture
def exploding(tiny: Path, workspace: Path) -> Evaluator:
    """A suite with one expert whose task vector is as large as float32 allows."""
    path = tiny.parent / "original" / "Reds.safetensors"
    save_file({key: torch.full_like(value, 1e30) for key, value in load_file(path).items()}, path)
    return Evaluator(open_suite(str(tiny), workspace), workspace, "cpu")


MERGED = r"merged model \(--method task-arithmetic .*--set scale=.*\): its outputs are NaN, infinite or zero"
WAYS: dict[str, tuple[Callable[[Evaluator, MergeRecipe], Any], str]] = {
    "measure": (lambda e, r: e.measure(r), r"Reds\.safetensors: its outputs are NaN"),
    "crosstalk": (lambda e, r: e.crosstalk(), r"Reds\.safetensors: its outputs are NaN"),
    "drift": (lambda e, r: measure_drift(e, r), r"Reds\.safetensors: its outputs are NaN"),
    "blame": (lambda e, r: contributions(e, r), r"Reds\.safetensors: its outputs are NaN"),
    "point": (lambda e, r: Point(r, "test").compute(e), r"Reds\.safetensors: its outputs are NaN"),
    "unlabelled point": (lambda e, r: Point(r, "left-out").compute(e), MERGED),
    "blocks": (lambda e, r: drift_by_block(e, r), MERGED),
    "embedding": (lambda e, r: collect(e, {"before": r}), r"Reds\.safetensors: its outputs are NaN"),
    "plane": (
        lambda e, r: pair_plane(e, ("Reds", "Greens"), alphas=(0, 1)),
        r"Reds\.safetensors: its outputs are NaN",
    ),
    "live": (lambda e, r: LiveProbe(e, 2).look([r]), MERGED),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_measure_names_the_model(way: str, exploding: Evaluator) -> None:
    ask, says = WAYS[way]
    with pytest.raises(NotFinite, match=says):
        ask(exploding, exploding.recipe("task-arithmetic", {"scale": 0.4}, tasks=["Reds", "Greens"]))


def test_a_scale_that_is_too_large_is_one_message_with_the_recipe(evaluator: Evaluator, tiny: Path) -> None:
    path = tiny.parent / "original" / "Reds.safetensors"
    recipe = evaluator.recipe("task-arithmetic", {"scale": 2}, tasks=["Greens", "Blues"], coefficients={"Blues": 1e37})
    for ask in (
        evaluator.measure,
        lambda r: Point(r, "test").compute(evaluator),
        lambda r: LiveProbe(evaluator, 2).look([r]),
    ):
        with pytest.raises(NotFinite, match=MERGED.replace("scale=.*", r"scale=2\.0 --coefficient Blues=1e\+37")):
            ask(recipe)
    assert path.exists()
    assert not evaluator.kept(recipe)


def test_directions_are_required() -> None:
    unit = torch.nn.functional.normalize(torch.tensor([[3.0, 4.0], [1.0, 0.0]]), dim=1)
    assert require_directions(unit, "m") is unit
    for bad in (float("nan"), 0.0):
        broken = unit.clone()
        broken[1] = bad
        with pytest.raises(NotFinite, match=r"^m: its outputs"):
            require_directions(broken, "m")
    overflown = torch.nn.functional.normalize(torch.tensor([[1e30, 1e30]]), dim=1)  # its length is no float32
    with pytest.raises(NotFinite):
        require_directions(overflown, "m")


def test_a_diverging_ri_run_is_one_message_and_no_set(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    step = torch.optim.AdamW.step

    def explode(optimizer: torch.optim.AdamW, *options: Any) -> Any:
        for parameter in optimizer.param_groups[0]["params"]:
            parameter.data.mul_(1e30)
        return step(optimizer, *options)

    monkeypatch.setattr(torch.optim.AdamW, "step", explode)
    says = r"late: the loss of step \d is not a finite number; choose a smaller learning rate than lr = 0\.01"
    with pytest.raises(NotFinite, match=says):
        resolve(evaluator.suite, auxiliary="noise", name="late", settings={"steps": 9, "batch": 8, "lr": 0.01})
    assert "late" not in evaluator.suite.expert_sets


# --- what is written --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [(torch.float16, "F16", 70_000.0), (torch.bfloat16, "BF16", 3.4e38), (torch.float32, "F32", float("nan"))],
)
def test_values_that_a_format_cannot_hold_are_not_written(
    kind: torch.dtype, name: str, value: float, tmp_path: Path
) -> None:
    path, tensor = tmp_path / "out.safetensors", torch.tensor([1.0, value, value])
    with pytest.raises(InputError, match=rf"tensor 'w' must be finite as {name}, found 2 NaN or infinite of 3 values"):
        write_safetensors(path, {"w": ((3,), kind)}, [("w", tensor)], {})
    assert list(tmp_path.iterdir()) == []
    write_safetensors(path, {"w": ((3,), kind)}, [("w", torch.full((3,), 60_000.0))], {})  # though their sum is not
    assert torch.isfinite(load_file(path)["w"]).all()


def test_json_has_null_for_what_is_no_number() -> None:
    inner = {"d": None, "e": "NaN", "f": True}
    value = {"a": float("nan"), "b": [1.5, np.float64("inf"), (2, float("-inf"))], "c": inner}
    wanted = {"a": None, "b": [1.5, None, [2, None]], "c": inner}
    assert json.loads(to_json(value), parse_constant=pytest.fail) == wanted
    assert to_json({"x": 0.1, "y": [1, "é"]}, 2) == json.dumps({"x": 0.1, "y": [1, "é"]}, indent=2)


def test_measure_prints_json_where_an_expert_is_never_right(
    tiny: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its normalised accuracy is a division by zero."""
    path = tiny.parent / "Reds-test.npz"
    found = dict(np.load(path))
    evaluator = Evaluator(open_suite(str(tiny), workspace), workspace, "cpu")
    images = evaluator.suite.task_data("Reds")
    logits = evaluator.heads["Reds"].logits(
        evaluator.encoder.features(evaluator.suite.tower(evaluator.suite.expert("Reds")).tensors, images)
    )
    found["labels"] = (logits.argmax(dim=1).numpy() + 1) % 3
    np.savez(path, **found)
    where = ["--device", "cpu", "--workspace", str(workspace)]
    assert main(["measure", str(tiny), "--method", "averaging", "--json", *where]) == 0
    printed = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert printed["tasks"][0]["expert_accuracy"] == 0
    assert printed["tasks"][0]["normalised_accuracy"] is None
