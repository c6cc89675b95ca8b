from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import scipy.stats
import torch

from ri_analysis.measures.blocks import cka_distance, token_distance
from ri_analysis.measures.correlation import pair_correlation
from ri_analysis.measures.disentanglement import disentanglement_table
from ri_analysis.measures.distances import DISTANCES, Outputs, js_divergence
from ri_analysis.measures.drift import drift_change_table, drift_table, outcomes
from ri_analysis.measures.shapley import draw_orders, exact_shapley, sampled_shapley
from ri_analysis.measures.weights import collisions, cosines, gram_matrix, singular_task_interference
from ri_analysis.merging.factorisation import truncated_svd
from ri_analysis.task_vectors import Layer


def test_distances_worked_by_hand() -> None:
    # Probabilities (3/4, 1/4) against (1/2, 1/2); features at 60 degrees.
    expert = Outputs(torch.tensor([[1.0, 0.0]]), torch.log(torch.tensor([[0.75, 0.25]])))
    merged = Outputs(torch.tensor([[0.5, math.sqrt(0.75)]]), torch.log(torch.tensor([[0.25, 0.75]])))
    by_hand = {
        "kl": 0.75 * math.log(3) + 0.25 * math.log(1 / 3),
        "js": 0.75 * math.log(1.5) + 0.25 * math.log(0.5),  # the middle is (1/2, 1/2)
        "disagreement": 1.0,
        "cosine": 0.5,
        "l1": 0.5 + math.sqrt(0.75),
    }
    assert set(by_hand) == set(DISTANCES)
    for name, distance in DISTANCES.items():
        assert distance.of(expert, merged).item() == pytest.approx(by_hand[name], abs=1e-6)
        assert distance.of(expert, expert).item() == pytest.approx(0, abs=1e-6)


def test_js_is_symmetric_and_at_most_ln_2() -> None:
    first, second = torch.tensor([[60.0, 0.0]]), torch.tensor([[0.0, 60.0]])
    assert js_divergence(first, second).item() == pytest.approx(math.log(2), abs=1e-6)
    assert torch.equal(js_divergence(first, second), js_divergence(second, first))


def test_drift_per_task_and_its_paired_change() -> None:
    before, after = {"t": np.array([0.0, 1.0, 1.0, 2.0])}, {"t": np.array([0.0, 0.5, 0.5, 1.0])}
    row = drift_table(before).iloc[0]
    assert (row.drift, row.n) == (1.0, 4)
    assert row.drift_low <= 1 <= row.drift_high
    assert drift_change_table(before, after).loc[0, "change"] == -0.5
    share = drift_table({"t": np.zeros(4)}, shares=True).iloc[0]
    assert share.drift == 0
    assert share.drift_high > 0.3  # Wilson: four agreements do not prove that there is no disagreement
    with pytest.raises(ValueError, match="same images"):
        drift_change_table(before, {"t": np.zeros(3)})


def test_outcomes() -> None:
    labels, expert, merged = np.zeros(5, int), np.array([0, 0, 1, 1, 1]), np.array([0, 1, 0, 2, 1])
    assert outcomes(labels, expert, merged).tolist() == ["kept", "lost", "gained", "moved", "wrong"]


def test_cka_knows_rotation_scale_and_the_unrelated() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 6))
    turn, _ = np.linalg.qr(generator.normal(size=(6, 6)))
    assert cka_distance(x, x)[0] == pytest.approx(0, abs=1e-12)
    assert cka_distance(x, 3 * x @ turn + 5)[0] == pytest.approx(0, abs=1e-12)
    # Centred columns (1, −1, 1, −1) and (1, 1, −1, −1) are orthogonal.
    assert cka_distance(np.array([[1.0], [-1], [1], [-1]]), np.array([[1.0], [1], [-1], [-1]]))[0] == 1
    # X = (a, b), Y = a with ‖a‖² = ‖b‖² = 4 and a ⟂ b: CKA = 16 / (√32 · 4) = 1/√2.
    a, b = np.array([1.0, -1, 1, -1]), np.array([1.0, 1, -1, -1])
    assert cka_distance(np.stack([a, b], axis=1), a[:, None])[0] == pytest.approx(1 - 1 / math.sqrt(2))
    constant = np.ones((30, 3))
    assert cka_distance(constant, constant)[0] == 0
    assert math.isnan(cka_distance(constant, x[:30])[0])


def test_cka_is_that_of_centred_gram_matrices() -> None:
    # The other definition (Kornblith et al. 2019, equation 3): HSIC of the n × n linear kernels, normalised.
    generator = np.random.default_rng(3)
    x = generator.normal(size=(50, 7))
    y = np.tanh(x[:, :4]) + 0.3 * generator.normal(size=(50, 4))
    centring = np.eye(50) - 1 / 50
    k, m = (centring @ each @ each.T @ centring for each in (x, y))
    hsic = np.trace(k @ m) / math.sqrt(np.trace(k @ k) * np.trace(m @ m))
    assert cka_distance(x, y)[0] == pytest.approx(1 - hsic, abs=1e-12)


def test_cka_interval_covers_about_as_often_as_it_says() -> None:
    generator, covered = np.random.default_rng(1), 0
    truth = 1 - 1 / 1.25  # Y = X + noise of half its size, one dimension: CKA = ρ² = 1 / 1.25
    for _ in range(100):
        x = generator.normal(size=(100, 1))
        low, high = cka_distance(x, x + 0.5 * generator.normal(size=(100, 1)))[1]
        covered += low <= truth <= high
    assert covered >= 88


def test_token_distance_in_units_of_the_spread() -> None:
    reference = np.array([[3.0, 0.0], [-3.0, 0.0]])  # spread 3
    assert token_distance(reference, reference + np.array([0.0, 1.5])).tolist() == [0.5, 0.5]
    assert token_distance(np.ones((2, 2)), np.ones((2, 2))).tolist() == [0, 0]


def test_singular_task_interference_worked_by_hand() -> None:
    # Both experts are 2·e₁e₁ᵀ: UᵀU − I = VᵀV − I = [[0, 1], [1, 0]], Σ = 2I, so the product is 2I: 4.
    same, apart = np.zeros((3, 4)), np.zeros((3, 4))
    same[0, 0], apart[1, 1] = 2, 5
    assert singular_task_interference([truncated_svd(same, 1)] * 2) == pytest.approx(4)
    assert singular_task_interference([truncated_svd(same, 1), truncated_svd(apart, 1)]) == pytest.approx(0)
    deltas = np.stack([same, same, apart])
    found = collisions(deltas, truncated_svd)
    assert found.interference == pytest.approx(4)
    assert (found.pairs[0, 1], found.pairs[0, 2], found.pair_sums[0, 2]) == pytest.approx((4, 0, 7))
    assert found.singular_sum == pytest.approx(9)
    assert cosines(gram_matrix(Layer("w", torch.zeros(3, 4), torch.tensor(deltas).float())))[0].tolist() == [1, 1, 0]


def test_singular_task_interference_entry_by_entry() -> None:
    deltas = np.random.default_rng(2).normal(size=(3, 6, 8))
    found = collisions(deltas, truncated_svd)
    columns = []  # each expert's two (of 6 / 3) leading directions, from the eigenvectors of ΔᵀΔ
    for delta in deltas:
        values, vectors = np.linalg.eigh(delta.T @ delta)
        columns += [
            (math.sqrt(values[-k]), delta @ vectors[:, -k] / math.sqrt(values[-k]), vectors[:, -k]) for k in (1, 2)
        ]
    total = 0.0
    for i, (_, u_i, _) in enumerate(columns):
        for j, (_, _, v_j) in enumerate(columns):
            entry = sum(
                (u_i @ u_k - (i == k)) * s_k * (v_k @ v_j - (k == j)) for k, (s_k, u_k, v_k) in enumerate(columns)
            )
            total += abs(entry)
    assert found.interference == pytest.approx(total)


def test_the_pairs_interference_is_that_of_two_experts_alone() -> None:
    deltas = np.random.default_rng(0).normal(size=(3, 6, 8))
    found = collisions(deltas, truncated_svd)
    two = [truncated_svd(delta, 2) for delta in deltas[:2]]
    assert found.pairs[0, 1] == pytest.approx(singular_task_interference(two))


def game(members: frozenset[str]) -> np.ndarray:
    """a counts 1, b counts 2, and c doubles whatever is there."""
    return np.array([float(("a" in members) + 2 * ("b" in members)) * (1 + ("c" in members))])


def test_exact_shapley_is_the_mean_over_all_orders() -> None:
    by_orders = dict.fromkeys("abc", 0.0)
    for order in permutations("abc"):
        for place, player in enumerate(order):
            by_orders[player] += float(game(frozenset(order[: place + 1]))[0] - game(frozenset(order[:place]))[0]) / 6
    shares = exact_shapley("abc", game)
    assert {player: float(value[0]) for player, value in shares.values.items()} == pytest.approx(by_orders)
    assert sum(by_orders.values()) == pytest.approx(6)  # they share what all of them make together
    assert shares.errors == dict.fromkeys("abc", 0.0)


def test_sampled_shapley_is_within_its_stated_error_and_adds_up() -> None:
    exact = exact_shapley("abc", game).values
    shares = sampled_shapley("abc", game, draw_orders("abc", 200, seed=1))
    assert sum(float(value[0]) for value in shares.values.values()) == pytest.approx(6)
    for player in "abc":
        assert abs(float(shares.values[player][0] - exact[player][0])) <= 3 * shares.errors[player] + 1e-12
    assert max(shares.errors.values()) < 0.1
    assert draw_orders("abc", 3, seed=1) == draw_orders("abc", 3, seed=1)


def _symmetric(values: list[float]) -> np.ndarray:
    """Return the symmetric matrix (T, T) with these values below its diagonal, row by row."""
    size = round((1 + math.sqrt(1 + 8 * len(values))) / 2)
    matrix = np.zeros((size, size))
    matrix[np.tril_indices(size, -1)] = values
    return matrix + matrix.T


def test_rank_correlation_by_hand() -> None:
    assert pair_correlation(_symmetric([1, 2, 3]), _symmetric([10, 20, 30]))[::2] == (1, 3)
    assert pair_correlation(_symmetric([1, 2, 3]), _symmetric([9, 5, 1])).rho == -1
    # Of the 6 orders of three experts one gives ρ = 1 and one −1: as far from zero by chance in a third.
    assert pair_correlation(_symmetric([1, 2, 3]), _symmetric([10, 20, 30])).chance == pytest.approx(1 / 3, abs=0.05)


def test_rank_correlation_by_relabelling() -> None:
    x = np.random.default_rng(0).normal(size=(7, 7))
    found = pair_correlation(x + x.T, np.exp(x + x.T))
    assert (found.rho, found.n) == (pytest.approx(1), 21)
    assert found.chance < 0.05


@pytest.mark.parametrize("still", [np.eye(2), np.ones((5, 5))])
def test_rank_correlation_of_too_few_or_equal_values_is_not_a_number(still: np.ndarray) -> None:
    moving = _symmetric(list(range(len(still) * (len(still) - 1) // 2)))
    for pair in ((still, moving), (moving, still)):
        assert math.isnan(pair_correlation(*pair).rho)
        assert math.isnan(pair_correlation(*pair).chance)  # and not as unlikely as can be


def test_rank_correlation_is_scipys() -> None:
    generator, below = np.random.default_rng(5), np.tril_indices(10, -1)
    x = _symmetric(generator.integers(0, 6, 45).tolist())  # many ties
    y = x + _symmetric(generator.normal(scale=2, size=45).round().tolist())
    found = pair_correlation(x, y, permutations=200)
    assert found.rho == pytest.approx(scipy.stats.spearmanr(x[below], y[below]).statistic)
    # each relabelling ranked again
    orders, reached = np.random.default_rng(0), 1
    for _ in range(200):
        order = orders.permutation(10)
        other = scipy.stats.spearmanr(x[below], y[order][:, order][below]).statistic
        reached += abs(other) >= abs(found.rho) - 1e-12
    assert found.chance == reached / 201


def test_disentanglement_adds_the_two_tasks_shares() -> None:
    flags = {(1.0, 1.0): {"a": np.array([True, False]), "b": np.array([True, True, True, False])}}
    row = disentanglement_table(flags).iloc[0]
    assert (row.error, row.a, row.b, row.n) == (1.25, 0.5, 0.75, 6)
    assert 0 <= row.error_low <= 1.25 <= row.error_high <= 2
