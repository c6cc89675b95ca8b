"""What measures promise of any task vectors and images: their order, their scale, one alone, zero and repeated ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ri_analysis.divergences import kl_divergence
from ri_analysis.measures import crosstalk_table
from ri_analysis.measures.distances import DISTANCES, Outputs
from ri_analysis.measures.shapley import exact_shapley
from ri_analysis.measures.weights import cosines, gram_matrix
from ri_analysis.task_vectors import Layer

bounded = settings(
    max_examples=50,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
seeds = st.integers(0, 10**6)


def vectors(seed: int, count: int) -> torch.Tensor:
    return torch.randn((count, 6, 4), generator=torch.Generator().manual_seed(seed))


def cosine(deltas: torch.Tensor) -> np.ndarray:
    return cosines(gram_matrix(Layer("visual.proj", torch.zeros(deltas.shape[1:]), deltas)))


@bounded
@given(seeds, st.integers(1, 6), st.sampled_from([1e-3, 1.0, 50.0]))
def test_cosines_follow_the_order_and_not_the_length(seed: int, count: int, factor: float) -> None:
    deltas = vectors(seed, count)
    found, order = cosine(deltas), torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    np.testing.assert_allclose(np.diag(found), 1, atol=1e-6)
    np.testing.assert_allclose(found, found.T, atol=1e-12)
    np.testing.assert_allclose(cosine(deltas[order]), found[np.ix_(order, order)], atol=1e-6)
    factors = factor * torch.linspace(1, 2, count)[:, None, None]
    np.testing.assert_allclose(cosine(factors * deltas), found, atol=1e-6)
    np.testing.assert_allclose(cosine(deltas[:1].expand_as(deltas).clone()), 1, atol=1e-6)


@bounded
@given(seeds, st.integers(2, 6))
def test_a_vector_of_length_zero_has_no_direction(seed: int, count: int) -> None:
    deltas = vectors(seed, count)
    deltas[0] = 0
    found = cosine(deltas)
    others = found[1:, 1:]
    assert np.isfinite(others).all()
    assert not np.any(np.abs(np.nan_to_num(found[0, 1:])) > 0)  # none, or not a number; never a made-up one


@bounded
@given(seeds, st.integers(1, 9), st.integers(2, 7))
def test_distances_are_zero_for_equal_outputs_and_follow_the_order_of_images(seed: int, n: int, classes: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def outputs() -> Outputs:
        features = torch.nn.functional.normalize(torch.randn((n, 5), generator=generator), dim=1)
        return Outputs(features, 10 * torch.randn((n, classes), generator=generator))

    one, other, order = outputs(), outputs(), torch.randperm(n, generator=generator)
    for distance in DISTANCES.values():
        assert distance.of(one, one).abs().max() <= 1e-6
        found = distance.of(one, other)
        assert torch.isfinite(found).all()
        assert found.min() >= 0
        turned = (Outputs(each.features[order], each.logits[order]) for each in (one, other))
        torch.testing.assert_close(distance.of(*turned), found[order])
    shifted = kl_divergence(one.logits + 3, other.logits - 2)  # logits mean what they are beside each other
    torch.testing.assert_close(shifted, kl_divergence(one.logits, other.logits), atol=1e-4, rtol=1e-4)


@bounded
@given(seeds, st.integers(1, 4))
def test_crosstalk_does_not_depend_on_which_expert_is_named_first(seed: int, count: int) -> None:
    generator, names = np.random.default_rng(seed), [f"task-{number}" for number in range(count)]
    pairs = {(a, b): generator.exponential(size=7).astype(np.float32) for a in names for b in names}
    found = crosstalk_table(pairs).set_index(["expert", "task"])
    turned = crosstalk_table(dict(reversed(pairs.items()))).set_index(["expert", "task"])
    for pair, values in pairs.items():
        assert found.loc[pair].equals(turned.loc[pair])
        assert found.loc[pair].iloc[0] == pytest.approx(values.mean(), rel=1e-5)


@bounded
@given(seeds, st.integers(1, 4))
def test_shares_of_players_add_up_and_equal_ones_get_the_same(seed: int, count: int) -> None:
    generator, names = np.random.default_rng(seed), [f"p{number}" for number in range(count)]
    worth = {name: float(generator.normal()) for name in names}
    worth[names[-1]] = worth[names[0]]

    def value(players: frozenset[str]) -> np.ndarray:
        alone = sum(worth[name] for name in players)
        return np.array([alone + alone**2])

    shares = exact_shapley(names, value)
    total = sum(float(np.asarray(shares.values[name])[0]) for name in names)
    assert total == pytest.approx(float((value(frozenset(names)) - value(frozenset()))[0]))
    assert float(np.asarray(shares.values[names[0]])[0]) == pytest.approx(
        float(np.asarray(shares.values[names[-1]])[0])
    )
