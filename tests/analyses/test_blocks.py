from __future__ import annotations

import torch
from safetensors.torch import load_file

from ri_analysis.engine import Evaluator


def test_block_tokens_are_those_of_the_tower(evaluator: Evaluator) -> None:
    start = {k: v for k, v in load_file(evaluator.suite.pretrained.path).items() if k.startswith("visual.")}
    images = evaluator.suite.task_data("Reds")
    traces = evaluator.encoder.block_tokens_of_many(start, [(images, None), (images, [3, 4])])
    tokens = [trace.tokens for trace in traces]
    assert [tuple(part.shape) for part in tokens] == [(2, 24, 32), (2, 2, 32)]
    assert torch.allclose(tokens[0][:, 3:5], tokens[1], atol=1e-5)
    tower = evaluator.encoder.module
    with torch.no_grad():
        last = tower.ln_post(tokens[0][-1]) @ tower.proj
    features = evaluator.encoder.features(start, images)
    assert torch.allclose(torch.nn.functional.normalize(last, dim=1), features, atol=1e-5)
    assert torch.equal(traces[0].features, features)
