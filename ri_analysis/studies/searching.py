"""The best λ of several merges, searched together."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from typing import Any, TypeVar

from ri_analysis.engine.grids import OUTWARD, at_scale, best_of, between_neighbours, beyond, scales
from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.merging import MergeRecipe, find_method
from ri_analysis.studies.conducting.point import Point
from ri_analysis.studies.conducting.work import Work
from ri_analysis.studies.study import Part

Key = TypeVar("Key", bound=Hashable)
Scores = dict[float, float]
"""The score of every value of λ that was tried."""
Search = Generator[Sequence[Work], list[Any], dict[Key, Scores]]


def search(
    recipes: Mapping[Key, MergeRecipe],
    levels: int,
    on: Callable[[Key, MergeRecipe], Point],
    score: Callable[[Key, Outcomes], float] = lambda _, outcomes: outcomes.accuracy,
    *,
    refined: bool = False,
) -> Search[Key]:
    """Return the scores of every λ tried: an even grid of `levels`, extended where it ends at its best value.

    `on` says on which images a merge is scored; `refined` asks for the values half way to the best one's neighbours
    too. A method without λ has no scores.
    """
    tried: dict[Key, Scores] = {key: {} for key in recipes}

    def measure(asked: Mapping[Key, Sequence[float]]) -> Part:
        points = {
            (key, value): on(key, at_scale(recipes[key], value)) for key, values in asked.items() for value in values
        }
        for (key, value), outcomes in zip(points, (yield list(points.values())), strict=True):
            tried[key][value] = score(key, outcomes)

    asked = {key: scales(find_method(recipe.method), levels) for key, recipe in recipes.items()}
    for _ in range(OUTWARD + 1):
        yield from measure(asked)
        asked = {key: beyond(values) for key, values in tried.items()}
        if not any(asked.values()):
            break
    if refined:
        yield from measure(
            {key: between_neighbours(sorted(values), best_of(values)) for key, values in tried.items() if values}
        )
    return tried
