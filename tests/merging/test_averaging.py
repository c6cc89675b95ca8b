from __future__ import annotations

from random_experts import assert_close, counts, flat, joined, model, run


@counts
def test_mean(count: int) -> None:
    layers = model(count)
    assert_close(joined(run("averaging", layers)), flat(layers).mean(dim=0))
