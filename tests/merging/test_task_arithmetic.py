from __future__ import annotations

from random_experts import assert_close, counts, flat, joined, model, run


@counts
def test_sum(count: int) -> None:
    layers = model(count)
    assert_close(joined(run("task-arithmetic", layers)), flat(layers).sum(dim=0))
