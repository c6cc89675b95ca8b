from __future__ import annotations

import pytest
import torch
from random_experts import assert_close, counts, flat, joined, layer, model, run

from ri_analysis.task_vectors import Layer


@counts
@pytest.mark.parametrize(("threshold", "min_agree"), [(0.4, 2), (0.2, 1), (1.0, 3)])
def test_agrees_with_the_flat_reference(count: int, threshold: float, min_agree: int) -> None:
    layers = model(count)
    rows = flat(layers)
    total = rows.sum(dim=0)
    votes = sum((row.abs() > threshold * (total - row).abs()).int() for row in rows)
    expected = torch.where(votes >= min(min_agree, count), total, 0.0)
    assert_close(joined(run("consensus", layers, threshold=threshold, min_agree=min_agree)), expected)


def test_entries_worked_on_paper() -> None:
    # Threshold 0.4. Entry 1 (5, 4): 5 > 1.6 and 4 > 2, both. Entry 2 (5, 1): 5 > 0.4 but 1 < 2, one mask only.
    # Entry 3 (3, −2): 3 > 0.8 and 2 > 1.2, both, in spite of the conflict.
    item = Layer("w", torch.zeros(3), torch.tensor([[5.0, 5.0, 3.0], [4.0, 1.0, -2.0]]))
    assert run("consensus", [item])[0].tolist() == [9.0, 0.0, 1.0]
    assert run("consensus", [item], min_agree=1)[0].tolist() == [9.0, 6.0, 1.0]


def test_one_expert_is_itself() -> None:
    item = layer((4, 5), 1)
    assert torch.equal(run("consensus", [item])[0], item.deltas[0])
