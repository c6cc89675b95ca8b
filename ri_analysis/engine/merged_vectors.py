"""Merged task vectors kept in memory while they fit, so that moving λ costs one addition per tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch

from ri_analysis.memory import Recent
from ri_analysis.merging import MergeRecipe, direction, merge
from ri_analysis.merging.method import Statistics
from ri_analysis.progress import Progress
from ri_analysis.task_vectors import TaskVectors

BUDGET = 1 << 30  # bytes
FEW = 8  # vectors for sliders: λ is moved in a few recipes at a time, and of each there are two models


class MergedVectors:
    """The merged task vectors used last, up to `budget` bytes together and at most `most`.

    A model whose vector alone exceeds half the budget is merged again, streaming, each time.
    """

    def __init__(self, budget: int = BUDGET, most: int | None = None) -> None:
        self._kept: Recent[str, dict[str, torch.Tensor]] = Recent(budget, most)

    def merged(
        self,
        vectors: TaskVectors,
        recipe: MergeRecipe,
        ingredients: Mapping[str, str],
        statistics: Statistics | None = None,
        progress: Progress | None = None,
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the merged model's tensors: the same values as `merge(vectors, recipe, …)`.

        `ingredients` are the digests the merge is named by.
        """
        if 2 * vectors.size * 4 > self._kept.budget:
            return merge(vectors, recipe, statistics=statistics, progress=progress)
        found = self._direction(
            recipe, ingredients, direction(vectors, recipe, statistics=statistics, progress=progress)
        )
        return ((name, self._tensor(vectors, recipe, name, found)) for name in vectors.names)

    @staticmethod
    def _tensor(
        vectors: TaskVectors, recipe: MergeRecipe, name: str, found: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        pretrained = vectors.pretrained(name)
        return pretrained.add(found[name], alpha=recipe.scale) if name in found else pretrained

    def _direction(
        self, recipe: MergeRecipe, ingredients: Mapping[str, str], computed: Iterator[tuple[str, torch.Tensor]]
    ) -> dict[str, torch.Tensor]:
        others = tuple((name, value) for name, value in recipe.hyperparameters if name != "scale")
        key = replace(recipe, hyperparameters=others).digest(ingredients)
        found = self._kept.get(key)
        if found is None:
            found = dict(computed)
            self._kept.put(key, found, sum(tensor.nbytes for tensor in found.values()))
        return found
