from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ri_analysis.divergences import kl_divergence
from ri_analysis.intervals import Interval, bootstrap_mean, clear, of_difference, wilson


def test_kl_worked_by_hand() -> None:
    # p = (1/2, 1/2), q = (1/4, 3/4): KL = 1/2 ln 2 + 1/2 ln(2/3)
    p, q = torch.tensor([[0.0, 0.0]]), torch.log(torch.tensor([[0.25, 0.75]]))
    expected = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert kl_divergence(p, q).item() == pytest.approx(expected, abs=1e-6)


def test_kl_is_directed_and_ignores_constant_shifts() -> None:
    p, q = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    assert kl_divergence(p, q).item() != pytest.approx(kl_divergence(q, p).item(), abs=1e-3)
    assert kl_divergence(p + 5, q - 3).item() == pytest.approx(kl_divergence(p, q).item(), abs=1e-6)
    assert kl_divergence(p, p).item() == pytest.approx(0.0, abs=1e-7)


def test_wilson_against_published_values() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I: 81/263 and 0/20, method 3 (score, no correction).
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        wilson(successes, n)


def test_bootstrap_matches_the_normal_interval_of_a_large_sample() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 4000)
    low, high = bootstrap_mean([values], seed=0, resamples=4000)
    error = values.std() / math.sqrt(len(values))
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_bootstrap_weighs_groups_equally() -> None:
    # One group of zeros, a ten times larger one of ones: the mean over groups is 1/2, without any spread.
    assert bootstrap_mean([np.zeros(10), np.ones(100)]) == (0.5, 0.5)


def test_bootstrap_is_seeded_and_the_same_in_blocks() -> None:
    values = np.arange(50.0)
    assert bootstrap_mean([values], seed=3) == bootstrap_mean([values], seed=3)
    assert bootstrap_mean([values], seed=3) != bootstrap_mean([values], seed=4)


@pytest.mark.parametrize("samples", [[], [np.zeros(0)]])
def test_bootstrap_refuses_nothing(samples: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="group"):
        bootstrap_mean(samples)


def test_an_interval_is_clear_where_it_excludes_zero() -> None:
    assert [Interval(*ends).clear for ends in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (0.0, 0.2), (0.0, 0.0))] == [
        *(True, True, False, False, False)
    ]
    assert not Interval(float("nan"), float("nan")).clear
    assert clear(np.array([-1.0, 1.0, -2.0]), np.array([1.0, 2.0, -1.0])).tolist() == [False, True, True]


def test_the_interval_of_a_difference_by_hand() -> None:
    # 1 to 7 around 4, and 6 to 14 around 10: 6 ± √(3² + 4²).
    assert of_difference((4.0, 1.0, 7.0), (10.0, 6.0, 14.0)) == (1.0, 11.0)
    # Newcombe (1998, method 10) of 56/70 and 48/80: 0.2 with 0.0524 to 0.3339.
    one, two = (48 / 80, *wilson(48, 80)), (56 / 70, *wilson(56, 70))
    assert of_difference(one, two) == pytest.approx((0.0524, 0.3339), abs=5e-5)
