from __future__ import annotations

import pytest
import torch
from random_experts import MATRIX, assert_close, counts, layer, matrices, model, run

from ri_analysis.task_vectors import Layer


def naive_wudi(deltas: torch.Tensor, steps: int, learning_rate: float) -> torch.Tensor:
    """WUDI by autograd and torch's own Adam, float64."""
    merged = deltas.sum(dim=0).requires_grad_()
    optimiser = torch.optim.Adam([merged], lr=learning_rate)
    for _ in range(steps):
        loss = sum(((merged - d) @ d.T).square().sum() / d.square().sum() for d in deltas if d.any())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[union-attr]
        optimiser.step()
    return merged.detach()


@matrices
@counts
def test_agrees_with_autograd_and_adam(shape: tuple[int, int], count: int) -> None:
    item = layer(shape, count, seed=count)
    found = run("wudi", [item], steps=40, learning_rate=1e-3)[0]
    assert_close(found, naive_wudi(item.deltas.double(), 40, 1e-3))


def test_interference_falls() -> None:
    item = layer((20, 30), 4)

    def interference(merged: torch.Tensor) -> float:
        return sum(float(((merged - d) @ d.T).square().sum() / d.square().sum()) for d in item.deltas)

    before = interference(item.deltas.sum(dim=0))
    assert interference(run("wudi", [item], steps=300, learning_rate=1e-3)[0]) < 0.5 * before


def test_only_attention_and_mlp_weights_are_merged() -> None:
    layers = model(3)
    changed = [item.name for item, merged in zip(layers, run("wudi", layers), strict=True) if merged.any()]
    assert changed == [
        "visual.transformer.resblocks.0.attn.in_proj_weight",
        "visual.transformer.resblocks.0.mlp.c_fc.weight",
        "visual.transformer.resblocks.0.mlp.c_proj.weight",
    ]


@pytest.mark.parametrize("count", [1, 3])
def test_experts_equal_to_the_pretrained_model_take_no_part(count: int) -> None:
    item = layer((10, 8), count)
    padded = Layer(MATRIX, item.pretrained, torch.cat([item.deltas, torch.zeros(1, 10, 8)]))
    assert_close(run("wudi", [padded])[0], run("wudi", [item])[0])
    assert not run("wudi", [Layer(MATRIX, item.pretrained, torch.zeros(2, 10, 8))])[0].any()


def test_one_expert_stays_itself() -> None:
    item = layer((10, 8), 1)
    assert_close(run("wudi", [item])[0], item.deltas[0], 1e-4)  # Adam steps by its learning rate at any gradient
