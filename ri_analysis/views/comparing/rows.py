"""The recipes of the table: what is measured, what the reader added, and what is known of them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from ri_analysis.engine import Evaluator
from ri_analysis.engine.comparing import Collection, Measured, ordered
from ri_analysis.engine.recipe_texts import expand, written
from ri_analysis.errors import InputError
from ri_analysis.export.comparing import crosstalk, recipe_rows
from ri_analysis.merging import MergeRecipe
from ri_analysis.studies.known import known_means
from ri_analysis.ui import choosing, recipes, resources
from ri_analysis.views.comparing import board
from ri_analysis.views.comparing.board import Board

MEASURED, STUDY, MISSING = "measured", "from the methods study", "not measured"
PATIENCE = 1.0  # seconds of reading before the page is drawn


@dataclass
class Held:
    """What all sessions hold of a suite: measured recipes, means that a study's table has, crosstalk, what failed."""

    collection: Collection = field(default_factory=Collection)
    known: dict[MergeRecipe, dict[str, object]] | None = None
    crosstalks: dict[Hashable, float] = field(default_factory=dict)
    failed: dict[MergeRecipe, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rows:
    """The recipes of the open suite by their texts, in the table's order before any filter."""

    evaluator: Evaluator
    held: Held
    board: Board
    recipes: dict[str, MergeRecipe]
    ignored: dict[str, str]  # added texts that are no recipe here, and why
    looked: bool  # whether all that the store holds was looked at

    @property
    def names(self) -> dict[MergeRecipe, str]:
        """The names that the reader gave."""
        given = self.board.names
        return {recipe: given[text] for text, recipe in self.recipes.items() if text in given}

    def measured(self, text: str) -> Measured | None:
        """Return what is measured of a recipe on all images."""
        return self._measured[text]

    @cached_property
    def _measured(self) -> dict[str, Measured | None]:
        """What is measured of each recipe: its name in the collection takes a while to make."""
        return {text: self.held.collection.get(self.evaluator, recipe) for text, recipe in self.recipes.items()}

    def missing(self) -> list[MergeRecipe]:
        """Return the shown recipes that are not measured, nor found impossible."""
        shown = [text for text in self.recipes if text not in self.board.hidden]
        wanted = [self.recipes[text] for text in shown if self.measured(text) is None]
        return [recipe for recipe in wanted if recipe not in self.held.failed]

    def state(self, text: str) -> str:
        """Say where a recipe's numbers come from, or why there are none."""
        recipe = self.recipes[text]
        if self.measured(text) is not None:
            return MEASURED
        if recipe in self.held.failed:
            return f"failed: {self.held.failed[recipe]}"
        return STUDY if recipe in (self.held.known or {}) else MISSING

    def table(self, texts: list[str], baseline: MergeRecipe | None) -> pd.DataFrame:
        """Return `recipe_rows` of some recipes, with the column `state`."""
        chosen = [self.recipes[text] for text in texts]
        table = recipe_rows(
            self.evaluator,
            self.held.collection,
            chosen,
            baseline,
            self.names,
            known=self.held.known,
            crosstalks=self._crosstalks(chosen).__getitem__,
        )
        return table.assign(state=[self.state(text) for text in texts])

    def _crosstalks(self, chosen: list[MergeRecipe]) -> dict[MergeRecipe, float]:
        """Return the crosstalk of each recipe's experts, looked up once for each set of them."""
        by_set = {(recipe.experts, recipe.tasks): recipe for recipe in chosen}
        found = {name: self._crosstalk(recipe) for name, recipe in by_set.items()}
        return {recipe: found[recipe.experts, recipe.tasks] for recipe in chosen}

    def _crosstalk(self, recipe: MergeRecipe) -> float:
        key = (recipe.tasks, *self.evaluator.suite.weight_digests(recipe.experts).items())
        if key not in self.held.crosstalks:
            self.held.crosstalks[key] = crosstalk(self.evaluator, recipe)
        return self.held.crosstalks[key]


def held(evaluator: Evaluator) -> Held:
    """Return what is held of the open suite, as long as it stays open as it is."""
    key = ("comparing", resources.opened(evaluator))
    return resources.remembered(key, Held)


def rows(evaluator: Evaluator) -> Rows:
    """Return the recipes of the table: measured ones, those that a study knows, and added ones."""
    own, kept = held(evaluator), board.read()
    if own.known is None:
        own.known = known_means(evaluator)
    added: dict[str, MergeRecipe] = {}
    ignored: dict[str, str] = {}
    for text in kept.added:
        try:
            added |= {written(recipe, evaluator.suite): recipe for recipe in expand(evaluator, text)}
        except InputError as error:
            ignored[text] = str(error)
    first = [*recipes.chosen_pair(evaluator)] if choosing.mergeable(evaluator) else []
    looked = own.collection.look(evaluator, [*first, *added.values(), *own.known], PATIENCE)
    there = ordered(evaluator.suite, [*own.collection.recipes(evaluator), *own.known, *added.values()])
    texts = {written(recipe, evaluator.suite): recipe for recipe in there}
    return Rows(evaluator, own, kept, texts, ignored, looked)
