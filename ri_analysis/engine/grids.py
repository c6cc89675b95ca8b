"""Values of a hyperparameter to try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging import METHODS, MergeRecipe, Method

LOWEST, HIGHEST = 1e-3, 10.0  # of λ: what a grid is extended to at most
OUTWARD = 6  # rounds in which one is extended


def find_scale(method: Method) -> Hyperparameter | None:
    """Return the declaration of a method's λ, None for a method without one."""
    return next((item for item in method.hyperparameters if item.name == "scale"), None)


def scales(method: Method, levels: int) -> list[float]:
    """Return `levels` values of λ over the declared sweep, in equal ratios; none for a method without λ."""
    item = find_scale(method)
    if item is None or item.sweep is None:
        return []
    return [rounded(value) for value in np.geomspace(*item.sweep, levels)]


def between_neighbours(values: Sequence[float], best: float) -> list[float]:
    """Return the values half way (in ratio) from `best` to its neighbours, beyond the end where it has only one."""
    place, step = values.index(best), values[1] / values[0]
    below = values[place - 1] if place > 0 else best / step
    above = values[place + 1] if place + 1 < len(values) else best * step
    found = [rounded((below * best) ** 0.5), rounded((best * above) ** 0.5)]
    found += [rounded(below)] if place == 0 else []
    return found + ([rounded(above)] if place + 1 == len(values) else [])


def best_of(scores: Mapping[float, float]) -> float:
    """Return the value of the highest score; of equal ones that with the most values tried on either side."""
    order = sorted(scores)
    return max(order, key=lambda value: (scores[value], -abs(2 * order.index(value) - len(order) + 1)))


def beyond(scores: Mapping[float, float]) -> list[float]:
    """Return the next value in equal ratio beyond the end that the best value is; none where it lies inside.

    A grid that ends at its best value says nothing of what lies beyond. Only values that λ is allowed.
    """
    values = sorted(scores)
    if len(values) < 2:
        return []
    ratio = values[1] / values[0]
    found = {values[0]: rounded(values[0] / ratio), values[-1]: rounded(values[-1] * ratio)}.get(best_of(scores))
    return [found] if found is not None and LOWEST <= found <= HIGHEST else []


def at_scale(recipe: MergeRecipe, value: float) -> MergeRecipe:
    """Return the same merge with another λ."""
    changed = tuple((name, value if name == "scale" else other) for name, other in recipe.hyperparameters)
    return replace(recipe, hyperparameters=changed)


def mergeable(count: int) -> list[Method]:
    """Return the methods that can merge so many experts."""
    return [method for method in METHODS.values() if method.merges(count)]


def rounded(value: float) -> float:
    """Return a value in four digits, as it is written in tables and recipes."""
    return float(f"{value:.4g}")
