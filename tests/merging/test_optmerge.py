from __future__ import annotations

import pytest
import torch
from random_experts import MATRIX, assert_close, counts, layer, matrices, model, run

from ri_analysis.task_vectors import Layer

variants = pytest.mark.parametrize("variant", ["full", "lora"])


def low_rank(matrix: torch.Tensor, rank: int) -> torch.Tensor:
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    return u[:, :rank] @ torch.diag(s[:rank]) @ v[:rank]


def naive_loss(merged: torch.Tensor, deltas: torch.Tensor, variant: str) -> torch.Tensor:
    rank, mean, loss = max(1, min(deltas.shape[1:]) // len(deltas)), deltas.mean(dim=0), torch.zeros(()).double()
    for delta in deltas:
        denoised = mean + low_rank(delta - mean, rank) if variant == "full" else low_rank(delta, rank)
        _, s, v = torch.linalg.svd(delta, full_matrices=False)
        right = torch.diag(s[:rank]) @ v[:rank]
        if delta.any():
            loss = loss + ((merged - denoised) @ right.T).square().sum() / delta.square().sum()
    return loss


def naive_optmerge(deltas: torch.Tensor, variant: str, steps: int, learning_rate: float) -> torch.Tensor:
    """By autograd and torch's own optimisers, float64."""
    start = deltas.sum(dim=0) if variant == "full" else deltas.mean(dim=0)
    merged = start.clone().requires_grad_()
    adam, descent = torch.optim.Adam, torch.optim.SGD
    optimiser = adam([merged], learning_rate) if variant == "full" else descent([merged], learning_rate, momentum=0.9)
    for _ in range(steps):
        optimiser.zero_grad()
        naive_loss(merged, deltas, variant).backward()
        optimiser.step()
    return merged.detach()


@matrices
@counts
@pytest.mark.parametrize(("variant", "learning_rate"), [("full", 1e-3), ("lora", 1e-2), ("lora", 1e-4)])
def test_agrees_with_autograd(shape: tuple[int, int], count: int, variant: str, learning_rate: float) -> None:
    item = layer(shape, count, seed=count)
    found = run("optmerge", [item], variant=variant, steps=15, learning_rate=learning_rate)[0]
    assert_close(found, naive_optmerge(item.deltas.double(), variant, 15, learning_rate))


@variants
def test_the_loss_falls(variant: str) -> None:
    item = layer((20, 30), 4)
    start, end = (
        naive_loss(run("optmerge", [item], variant=variant, steps=steps, learning_rate=1e-3)[0], item.deltas, variant)
        for steps in (0, 300)
    )
    assert end < 0.7 * start


def test_many_steps_of_descent_reach_the_minimum() -> None:
    # Two experts of rank 1 that see different inputs: both keep their own, and so does the merge.
    deltas = torch.zeros(2, 3, 4)
    deltas[0, 0, 0], deltas[1, 2, 3] = 2.0, 5.0
    item = Layer(MATRIX, torch.zeros(3, 4), deltas)
    found = run("optmerge", [item], variant="lora", steps=3000, learning_rate=0.1)[0]
    assert_close(found, deltas.sum(dim=0))


@variants
def test_only_attention_and_mlp_weights_are_merged(variant: str) -> None:
    layers = model(3)
    found = run("optmerge", layers, variant=variant)
    changed = [item.name for item, merged in zip(layers, found, strict=True) if merged.any()]
    assert changed == [
        "visual.transformer.resblocks.0.attn.in_proj_weight",
        "visual.transformer.resblocks.0.mlp.c_fc.weight",
        "visual.transformer.resblocks.0.mlp.c_proj.weight",
    ]


@variants
def test_experts_equal_to_the_pretrained_model(variant: str) -> None:
    item = layer((10, 8), 2)
    padded = Layer(MATRIX, item.pretrained, torch.cat([item.deltas, torch.zeros(1, 10, 8)]))
    options = {"variant": variant, "steps": 15, "learning_rate": 1e-3}
    expected = naive_optmerge(padded.deltas.double(), variant, 15, 1e-3)
    assert_close(run("optmerge", [padded], **options)[0], expected)
    assert not run("optmerge", [Layer(MATRIX, item.pretrained, torch.zeros(2, 10, 8))], **options)[0].any()


@variants
def test_one_expert_stays_itself(variant: str) -> None:
    item = layer((10, 8), 1)
    assert_close(run("optmerge", [item], variant=variant)[0], item.deltas[0], 1e-4)
