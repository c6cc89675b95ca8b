from __future__ import annotations

import pytest
from safetensors.torch import load_file

from ri_analysis.analyses.plane import pair_plane
from ri_analysis.engine import Evaluator
from ri_analysis.errors import InputError


def test_the_plane_agrees_with_plain_forward_passes(evaluator: Evaluator) -> None:
    plane = pair_plane(evaluator, ("Reds", "Greens"), alphas=(0.0, 1.5)).set_index(["alpha_1", "alpha_2"])
    assert plane.error[0.0, 0.0] == 0
    suite, start = evaluator.suite, None
    start = {k: v for k, v in load_file(suite.pretrained.path).items() if k.startswith("visual.")}
    tau = {task: load_file(suite.expert(task).path) for task in ("Reds", "Greens")}
    joint = {k: v + 1.5 * (tau["Reds"][k] - v) + 1.5 * (tau["Greens"][k] - v) for k, v in start.items()}
    alone = {k: v + 1.5 * (tau["Reds"][k] - v) for k, v in start.items()}
    images, head = suite.task_data("Reds"), evaluator.heads["Reds"]
    first, second = (head.logits(evaluator.encoder.features(weights, images)).argmax(1) for weights in (alone, joint))
    assert plane.Reds[1.5, 1.5] == pytest.approx((first != second).float().mean().item())
    with pytest.raises(InputError, match="two different experts"):
        pair_plane(evaluator, ("Reds", "Reds"))
