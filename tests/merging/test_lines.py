from __future__ import annotations

import pytest
import torch
from random_experts import task_vectors

from ri_analysis.merging import MergeRecipe, direction
from ri_analysis.merging.lines import block_index, lines_factor


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("visual.transformer.resblocks.0.ln_1.weight", 0),
        ("visual.transformer.resblocks.11.attn.in_proj_weight", 11),
        ("visual.trunk.blocks.3.mlp.fc1.weight", 3),
        ("visual.conv1.weight", None),
        ("visual.ln_post.bias", None),
    ],
)
def test_block_of_a_tensor(name: str, block: int | None) -> None:
    assert block_index(name) == block


@pytest.mark.parametrize(("block", "factor"), [(0, 0.2), (1, 0.4), (4, 1.0)])
def test_factor_grows_linearly_with_depth(block: int, factor: float) -> None:
    name = f"visual.transformer.resblocks.{block}.ln_1.weight"
    assert lines_factor(name, 5, 0.2, 0.8) == pytest.approx(factor)


def test_alpha_outside_the_blocks_and_for_one_block() -> None:
    assert lines_factor("visual.proj", 5, 0.2, 0.8) == 0.2
    assert lines_factor("visual.transformer.resblocks.0.ln_1.weight", 1, 0.2, 0.8) == 0.2


@pytest.mark.parametrize("method", ["task-arithmetic", "ties", "iso-c", "karcher"])
def test_a_method_s_direction_is_scaled_afterwards(method: str) -> None:
    vectors = task_vectors()
    plain = dict(direction(vectors, MergeRecipe.of(method, vectors.tasks)))
    scaled = dict(direction(vectors, MergeRecipe.of(method, vectors.tasks, lines=(0.5, 1.0))))
    assert plain.keys() == scaled.keys()
    for name, delta in plain.items():
        torch.testing.assert_close(scaled[name], 0.5 * delta)  # a single block: α everywhere
