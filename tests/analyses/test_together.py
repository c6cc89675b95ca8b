from __future__ import annotations

from pathlib import Path

import pytest
import torch
from experts import rotation, with_experts
from tiny import TASKS

from ri_analysis.analyses.blocks import drift_by_block
from ri_analysis.analyses.contribution import contributions
from ri_analysis.analyses.drift import ANALYSIS as DRIFT
from ri_analysis.analyses.drift import measure_drift
from ri_analysis.analyses.geometry import weight_geometry
from ri_analysis.analyses.plane import pair_plane
from ri_analysis.encoder import Encoder, save_head
from ri_analysis.encoder.heads import Head
from ri_analysis.engine import Evaluator
from ri_analysis.errors import Cancelled

FULL = {"scale": 1.0}


@pytest.fixture
def disjoint(tiny: Path) -> Evaluator:
    """Every task's head reads coordinates of its own, and each expert turns features within its own coordinates."""
    planes = {"Reds": (0, 1), "Greens": (2, 3), "Blues": (4, 5)}
    generator = torch.Generator().manual_seed(0)
    for task, classes in TASKS.items():
        weight = torch.zeros(classes, 16)
        weight[:, planes[task]] = 30 * torch.randn(classes, 2, generator=generator)
        head = Head(weight, tuple(str(index) for index in range(classes)))
        save_head(tiny.parent / f"head-{task}.safetensors", head)

    def turned(task: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return tensors | {"visual.proj": tensors["visual.proj"] @ rotation(16, *planes[task], 0.7)}

    return with_experts(tiny, turned)


def test_experts_on_disjoint_features_leave_each_other_alone(disjoint: Evaluator) -> None:
    recipe = disjoint.recipe("task-arithmetic", FULL)
    crosstalk = disjoint.crosstalk().set_index(["expert", "task"]).crosstalk
    assert crosstalk["Reds", "Greens"] == pytest.approx(0, abs=1e-5)
    assert crosstalk["Reds", "Reds"] > 0.01
    assert measure_drift(disjoint, recipe).table("kl").drift.tolist() == pytest.approx([0] * 3, abs=1e-5)
    table = contributions(disjoint, recipe)
    assert table[["left_out", "shapley"]].to_numpy() == pytest.approx(0, abs=1e-5)
    assert weight_geometry(disjoint).gram.cosine()[0, 1] == pytest.approx(0, abs=1e-6)
    plane = pair_plane(disjoint, ("Reds", "Blues"), alphas=(0.0, 1.0))
    assert plane.error.tolist() == [0] * 4


def test_answers_are_kept_and_cancelled_work_goes_on(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, seen = evaluator.recipe("task-arithmetic", FULL), list[tuple[int, int]]()

    def work(progress: object = None) -> None:
        for call in (measure_drift, drift_by_block, contributions):
            call(evaluator, recipe, progress=progress)  # type: ignore[operator]
        pair_plane(evaluator, ("Reds", "Blues"), alphas=(0.0, 1.0), progress=progress)  # type: ignore[arg-type]

    def cancel(done: int, total: int) -> None:
        if done > total / 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        contributions(evaluator, recipe, progress=cancel)
    assert not DRIFT.known(evaluator, recipe, {}, None)
    work(lambda done, total: seen.append((done, total)))
    assert all(done <= total for done, total in seen)
    assert seen[-1][0] == seen[-1][1]
    assert DRIFT.known(evaluator, recipe, {}, None)
    monkeypatch.setattr(Encoder, "features_of_many", lambda *_, **__: pytest.fail("computed again"))
    work()
