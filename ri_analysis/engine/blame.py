"""Blame: how much of a task's drift each other expert of the merge has caused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis.engine.evaluator import Evaluator, Progress
from ri_analysis.engine.models import (
    Tally,
    expert_model,
    merged_model,
    missing,
    outputs,
    probe,
    probe_size,
    subset_recipe,
)
from ri_analysis.engine.store import known
from ri_analysis.errors import InputError
from ri_analysis.measures.shapley import Shares, draw_orders, exact_shapley, sampled_shapley, subsets
from ri_analysis.merging import METHODS, MergeRecipe
from ri_analysis.statistics import bootstrap_mean, kl_divergence

EXACT_UP_TO = 8  # experts: up to here all 2^N − 1 merges are no more than sampled orders would need
BLAME_LIMIT = 64  # images a task
ORDER_PAIRS = 8  # sampled orders of the other experts, each with its reverse

Values = npt.NDArray[np.float64]
Merge = tuple[frozenset[str], str]  # the experts merged, and the task measured


def blame(
    evaluator: Evaluator,
    recipe: MergeRecipe,
    *,
    limit: int | None = BLAME_LIMIT,
    exact_up_to: int = EXACT_UP_TO,
    order_pairs: int = ORDER_PAIRS,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return each expert's blame for the drift ξ_t of every other task of the merge, hyperparameters fixed.

    One row per ordered pair of `expert` and `task`, with `left_out`: by how many nats ξ_t falls when the expert is left
    out of the merge; `shapley`: its Shapley value (players the other experts, expert t always merged, value ξ_t), both
    with `_low` and `_high` over images; `share` = shapley / (together − alone), NaN where that is not positive;
    `standard_error` of the Shapley value from sampling orders, 0 where it is exact; `together` = ξ_t of the whole
    merge, `alone` = ξ_t when expert t is merged alone; `exact`; `n` images.

    Exact up to `exact_up_to` experts, else from 2 · `order_pairs` seeded orders. Each merge is kept as soon as it is
    known, so a cancelled run goes on where it stopped. Raises InputError where the method can't merge fewer experts.
    """
    _check(recipe)
    exact = len(recipe.tasks) <= exact_up_to
    coalitions = _Coalitions(evaluator, recipe, limit)
    orders = {} if exact else {task: draw_orders(_others(recipe, task), order_pairs, seed) for task in recipe.tasks}
    coalitions.compute(_wanted(recipe, orders), progress)
    tables = [_rows(coalitions, recipe, task, orders.get(task)) for task in recipe.tasks]
    return pd.concat(tables, ignore_index=True)


class _Coalitions:
    """ξ per image of merges of some of the experts, kept in the store."""

    def __init__(self, evaluator: Evaluator, recipe: MergeRecipe, limit: int | None) -> None:
        self._evaluator, self._recipe, self._limit = evaluator, recipe, limit
        self._ingredients = evaluator.ingredients(recipe)

    def value(self, members: frozenset[str], task: str) -> Values:
        """Return ξ of each image of `task` under the merge of `members`, (n,) nats."""
        return known(self._evaluator.store.get(self._key(members, task)))["divergence"].astype(np.float64)

    def compute(self, wanted: Iterable[Merge], progress: Progress | None) -> None:
        """Measure what is not in the store yet."""
        tasks: dict[frozenset[str], list[str]] = {}
        for members, task in wanted:
            if not self._evaluator.store.has(self._key(members, task)):
                tasks.setdefault(members, []).append(task)
        affected = sorted({task for each in tasks.values() for task in each})
        experts = {task: expert_model(self._evaluator, task) for task in affected}
        absent = [task for task in affected if missing(self._evaluator, experts[task], (task,), self._limit)]
        absent += [task for each in tasks.values() for task in each]
        tally = Tally(progress, probe_size(self._evaluator, absent, self._limit))
        logits = {
            task: outputs(self._evaluator, model, (task,), self._limit, tally)[task].logits
            for task, model in experts.items()
        }
        for members, each in tasks.items():
            model = merged_model(self._evaluator, subset_recipe(self._recipe, members))
            sets = [probe(self._evaluator, task, self._limit) for task in each]
            read = self._evaluator.encoder.features_of_many
            for task, features in zip(
                each, read(model.weights(), sets, source=model.name, progress=tally.within), strict=True
            ):
                values = kl_divergence(logits[task], self._evaluator.heads[task].logits(features)).clamp(min=0)
                self._evaluator.store.put(self._key(members, task), {"divergence": values.numpy()})
            tally.advance(probe_size(self._evaluator, each, self._limit))

    def _key(self, members: frozenset[str], task: str) -> str:
        weights = subset_recipe(self._recipe, members).digest(self._ingredients)
        expert = self._evaluator.suite.expert(task).digest
        return self._evaluator.answer_key("coalition", weights + expert, task, "test", self._limit)


def _wanted(recipe: MergeRecipe, orders: dict[str, list[tuple[str, ...]]]) -> list[Merge]:
    """Return every merge that a table of blame needs, each once."""
    if not orders:
        return [(members, task) for members in subsets(recipe.tasks) for task in sorted(members)]
    wanted: dict[Merge, None] = {}
    for task in recipe.tasks:
        everyone = frozenset(recipe.tasks)
        prefixes = [order[:size] for order in orders[task] for size in range(len(order) + 1)]
        merges = [frozenset(prefix) | {task} for prefix in prefixes]
        wanted |= {(members, task): None for members in [*merges, *(everyone - {one} for one in _others(recipe, task))]}
    return list(wanted)


def _rows(
    coalitions: _Coalitions, recipe: MergeRecipe, task: str, orders: Sequence[Sequence[str]] | None
) -> pd.DataFrame:
    others = _others(recipe, task)
    shares = _shares(coalitions, task, others, orders)
    whole = coalitions.value(frozenset(recipe.tasks), task)
    alone = coalitions.value(frozenset({task}), task)
    together, caused = float(whole.mean()), float(whole.mean() - alone.mean())
    rows = []
    for expert in others:
        falls = whole - coalitions.value(frozenset(recipe.tasks) - {expert}, task)
        row: dict[str, object] = {"expert": expert, "task": task}
        row |= _with_interval("left_out", falls) | _with_interval("shapley", shares.values[expert])
        row["share"] = float(shares.values[expert].mean()) / caused if caused > 0 else float("nan")
        row |= {"standard_error": shares.errors[expert], "together": together, "alone": float(alone.mean())}
        rows.append(row | {"exact": orders is None, "n": len(whole)})
    return pd.DataFrame(rows)


def _shares(
    coalitions: _Coalitions, task: str, others: Sequence[str], orders: Sequence[Sequence[str]] | None
) -> Shares:
    def value(members: frozenset[str]) -> Values:
        return coalitions.value(members | {task}, task)

    return exact_shapley(others, value) if orders is None else sampled_shapley(others, value, orders)


def _with_interval(name: str, values: Values) -> dict[str, float]:
    low, high = bootstrap_mean([values])
    return {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}


def _others(recipe: MergeRecipe, task: str) -> list[str]:
    return [name for name in recipe.tasks if name != task]


def _check(recipe: MergeRecipe) -> None:
    low, high = METHODS[recipe.method].experts
    if low > 1:
        wanted = f"exactly {low}" if low == high else f"at least {low}"
        raise InputError(f"blame leaves experts out down to one, but {recipe.method} merges {wanted}")
    if len(recipe.tasks) < 2:
        raise InputError("blame needs at least two experts in the merge, found one")
