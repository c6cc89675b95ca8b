"""What every merging method promises of any experts: their order, their scale, one alone, zero and repeated ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_experts import BLOCK, MATRIX, WITHOUT_DATA, joined, run

from ri_analysis.merging import METHODS
from ri_analysis.task_vectors import Layer

# On the sphere of weights it matters how far experts lie from the pretrained model; PCB's softmax and the steps of WUDI
# and OptMerge, have a scale of their own. DARE and DELLA draw a mask for each place.
OF_WEIGHTS, PLACED = ("karcher", "slerp"), ("dare", "della")
WITH_A_SCALE = (*OF_WEIGHTS, "pcb", "wudi", "optmerge")
MEANS, SUMS = ("averaging", "karcher", "model-stock", "slerp"), ("task-arithmetic",)
TOLERANCE = 1e-5

bounded = settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@st.composite
def experts(draw: st.DrawFn, method: str, least: int = 1, most: int = 5) -> list[Layer]:
    """Layers of a matrix, a vector and a convolution, of as many experts as the method merges."""
    low, high = METHODS[method].counts
    count = draw(st.integers(max(least, low), max(low, min(most, high or most))))
    rows, columns = draw(st.integers(2, 9)), draw(st.integers(2, 9))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    shapes = {MATRIX: (rows, columns), BLOCK + "ln_1.weight": (rows,), "visual.conv1.weight": (rows, 3, 2, 2)}
    size = draw(st.sampled_from([1e-3, 0.1, 1.0]))
    return [
        Layer(name, torch.randn(shape, generator=generator), size * torch.randn((count, *shape), generator=generator))
        for name, shape in shapes.items()
    ]


def changed(layers: Sequence[Layer], change: Callable[[torch.Tensor], torch.Tensor]) -> list[Layer]:
    return [Layer(layer.name, layer.pretrained, change(layer.deltas)) for layer in layers]


def merged(method: str, layers: Sequence[Layer]) -> torch.Tensor:
    return joined(run(method, layers)).double()


def close(found: torch.Tensor, expected: torch.Tensor, size: float) -> bool:
    return bool((found - expected).norm() <= TOLERANCE * max(float(expected.norm()), size))


def length(layers: Sequence[Layer]) -> float:
    return float(joined([layer.deltas for layer in layers]).norm())


@pytest.mark.parametrize("method", [name for name in WITHOUT_DATA if name not in PLACED])
def test_the_order_of_experts_does_not_matter(method: str) -> None:
    @bounded
    @given(experts(method, least=2), st.randoms(use_true_random=False))
    def holds(layers: list[Layer], random: object) -> None:
        order = list(range(len(layers[0].deltas)))
        random.shuffle(order)  # type: ignore[attr-defined]
        other = changed(layers, lambda deltas: deltas[order])
        assert close(merged(method, other), merged(method, layers), 1e-3 * length(layers))

    holds()


@pytest.mark.parametrize("method", [name for name in WITHOUT_DATA if name not in WITH_A_SCALE])
def test_experts_that_are_all_longer_or_turned_make_a_merge_that_is(method: str) -> None:
    @bounded
    @given(experts(method), st.sampled_from([-1.0, 0.25, 3.7, 100.0]))
    def holds(layers: list[Layer], factor: float) -> None:
        other = changed(layers, lambda deltas: factor * deltas)
        assert close(merged(method, other), factor * merged(method, layers), 1e-3 * abs(factor) * length(layers))

    holds()


@pytest.mark.parametrize("method", WITHOUT_DATA)
def test_experts_equal_to_the_pretrained_model_merge_to_it(method: str) -> None:
    @bounded
    @given(experts(method), st.booleans())
    def holds(layers: list[Layer], one: bool) -> None:
        assert merged(method, changed(layers, torch.zeros_like)).abs().max() <= 1e-12
        first = changed(layers, lambda deltas: torch.cat([0 * deltas[:1], deltas[1:]]))
        run(method, first)  # it says itself whether all numbers are finite

    holds()


@pytest.mark.parametrize("method", [*MEANS, *SUMS])
def test_the_same_expert_several_times_is_itself_or_that_often(method: str) -> None:
    @bounded
    @given(experts(method))
    def holds(layers: list[Layer]) -> None:
        count = len(layers[0].deltas)
        repeated = changed(layers, lambda deltas: deltas[:1].expand_as(deltas).clone())
        expected = joined([layer.deltas[0] for layer in layers]).double() * (count if method in SUMS else 1)
        assert close(merged(method, repeated), expected, 0.0)

    holds()


@pytest.mark.parametrize("method", [name for name in WITHOUT_DATA if METHODS[name].merges(1)])
def test_one_expert_alone_is_never_made_longer(method: str) -> None:
    @bounded
    @given(experts(method, most=1))
    def holds(layers: list[Layer]) -> None:
        found, alone = merged(method, layers), joined([layer.deltas[0] for layer in layers]).double()
        if method in (*MEANS, *SUMS, "consensus", "tsv-m"):
            assert close(found, alone, 0.0)
        if method not in PLACED:  # the mean over masks is the expert, each mask's part of it is longer
            assert found.norm() <= (1 + TOLERANCE) * alone.norm()

    holds()
