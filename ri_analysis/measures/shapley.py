"""Shares of a joint effect: the Shapley value, exact or from sampled orders."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Value = Callable[[frozenset[str]], Values]


class Shares(NamedTuple):
    """`values`: a player's Shapley value per image, (n,); `errors`: its mean's standard error from sampling orders."""

    values: dict[str, Values]
    errors: dict[str, float]


def exact_shapley(players: Sequence[str], value: Value) -> Shares:
    """Return the Shapley values: φ_i = Σ_S |S|!(P−|S|−1)!/P! [v(S∪i) − v(S)] over all S without i (Shapley 1953).

    `value` maps a coalition to one number per image (n,); it is called once for each of the 2^P coalitions.
    """
    found = {subset: value(subset) for subset in subsets(players)}
    count, values = len(players), {}
    for player in players:
        total = np.zeros_like(found[frozenset()])
        for subset in (item for item in found if player not in item):
            weight = 1 / (count * math.comb(count - 1, len(subset)))
            total = total + weight * (found[subset | {player}] - found[subset])
        values[player] = total
    return Shares(values, dict.fromkeys(players, 0.0))


def sampled_shapley(players: Sequence[str], value: Value, orders: Sequence[Sequence[str]]) -> Shares:
    """Return Shapley values estimated from `orders` of the players, taken two by two (see `draw_orders`).

    Castro et al. 2009; each pair of an order and its reverse counts as one draw for the standard error (Mitchell et al.
    2022, antithetic sampling).
    """
    draws: dict[str, list[Values]] = {player: [] for player in players}
    for order in orders:
        before, members = value(frozenset()), frozenset[str]()
        for player in order:
            members = members | {player}
            after = value(members)
            draws[player].append(after - before)
            before = after
    values = {player: np.mean(each, axis=0) for player, each in draws.items()}
    return Shares(values, {player: _standard_error(each) for player, each in draws.items()})


def draw_orders(players: Sequence[str], pairs: int, seed: int = 0) -> list[tuple[str, ...]]:
    """Return 2 · `pairs` seeded random orders of the players, each followed by its reverse."""
    generator = np.random.default_rng(seed)
    orders: list[tuple[str, ...]] = []
    for _ in range(pairs):
        order = tuple(players[place] for place in generator.permutation(len(players)))
        orders += [order, order[::-1]]
    return orders


def subsets(players: Sequence[str]) -> list[frozenset[str]]:
    """Return all 2^P subsets, small ones first."""
    sizes = range(len(players) + 1)
    return [frozenset(chosen) for size in sizes for chosen in itertools.combinations(players, size)]


def _standard_error(draws: list[Values]) -> float:
    means = np.array([draw.mean() for draw in draws]).reshape(-1, 2).mean(axis=1)
    return float(means.std(ddof=1) / math.sqrt(len(means))) if len(means) > 1 else math.nan
