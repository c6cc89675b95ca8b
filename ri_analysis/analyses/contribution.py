"""How much of a task's interference each other expert of the merge causes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis.analyses.analysis import FIRST_LOOK, Analysis, Answer, Columns, Limit, Option, Options, rows
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.measurement import Request
from ri_analysis.engine.results import kept_table
from ri_analysis.errors import InputError
from ri_analysis.figures import words
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.matrices import ONLY_CLEAR, Axes, square, with_ends
from ri_analysis.intervals import bootstrap_mean
from ri_analysis.measures.shapley import Shares, draw_orders, exact_shapley, sampled_shapley, subsets
from ri_analysis.merging import METHODS, MergeRecipe
from ri_analysis.progress import Progress

EXACT_UP_TO = 8  # experts: up to here all 2^N − 1 merges are no more than sampled orders would need
LIMIT = 64  # images a task
ORDER_PAIRS = 8  # sampled orders of the other experts, each with its reverse

Values = npt.NDArray[np.float64]
Merge = tuple[frozenset[str], str]  # the experts merged, and the task measured


def contributions(
    evaluator: Evaluator,
    recipe: MergeRecipe,
    *,
    limit: int | None = LIMIT,
    exact_up_to: int = EXACT_UP_TO,
    order_pairs: int = ORDER_PAIRS,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return what each expert contributes to the interference ξ_t of every other task, hyperparameters fixed.

    One row per ordered pair of `expert` and `task`, with `left_out`: by how many nats ξ_t falls when the expert is left
    out of the merge; `shapley`: its Shapley value (players the other experts, expert t always merged, value ξ_t), both
    with `_low` and `_high` over images; `share` = shapley / (together − alone), NaN where that is not positive;
    `standard_error` of the Shapley value from sampling orders, 0 where it is exact; `together` = ξ_t of the whole
    merge, `alone` = ξ_t when expert t is merged alone; `exact`; `n` images.

    Exact up to `exact_up_to` experts, else from 2 · `order_pairs` seeded orders. Each merge is kept as soon as it is
    known, so a cancelled run resumes where it stopped. Raises InputError where the method can't merge fewer experts.
    """
    if why := _refusal(evaluator, recipe):
        raise InputError(f"contribution: {why}")
    orders = _orders(recipe, exact_up_to, order_pairs, seed)
    coalitions = _Coalitions(evaluator, recipe, _wanted(recipe, orders), limit, progress)
    tables = [_rows(coalitions, recipe, task, orders.get(task)) for task in recipe.tasks]
    return pd.concat(tables, ignore_index=True)


def _orders(recipe: MergeRecipe, exact_up_to: int, order_pairs: int, seed: int) -> dict[str, list[tuple[str, ...]]]:
    """Return the sampled orders in which the other experts join each task's own; none where all are counted."""
    if len(recipe.tasks) <= exact_up_to:
        return {}
    return {task: draw_orders(_others(recipe, task), order_pairs, seed) for task in recipe.tasks}


class _Coalitions:
    """ξ per image of merges of some of the experts."""

    def __init__(
        self,
        evaluator: Evaluator,
        recipe: MergeRecipe,
        wanted: Iterable[Merge],
        limit: int | None,
        progress: Progress | None,
    ) -> None:
        tasks = _by_members(wanted)
        found = evaluator.measurement.outcomes(_requests_of(evaluator, recipe, tasks, limit), progress)
        self._found = dict(zip(tasks, found, strict=True))

    def value(self, members: frozenset[str], task: str) -> Values:
        """Return ξ of each image of `task` under the merge of `members`, (n,) nats."""
        return self._found[members].divergence[task].astype(np.float64)


def _by_members(wanted: Iterable[Merge]) -> dict[frozenset[str], list[str]]:
    """Return the tasks to be measured of each merge."""
    tasks: dict[frozenset[str], list[str]] = {}
    for members, task in wanted:
        tasks.setdefault(members, []).append(task)
    return tasks


def _requests_of(
    evaluator: Evaluator, recipe: MergeRecipe, tasks: Mapping[frozenset[str], Sequence[str]], limit: int | None
) -> list[Request]:
    return [
        Request(evaluator.model(recipe.of_tasks(members)), evaluator.sections(tuple(each)), limit)
        for members, each in tasks.items()
    ]


def _wanted(recipe: MergeRecipe, orders: dict[str, list[tuple[str, ...]]]) -> list[Merge]:
    """Return every merge that a table needs, each once."""
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


def _refusal(_: Evaluator, recipe: MergeRecipe) -> str:
    method = METHODS[recipe.method]
    low, high = method.counts
    if low > 1:
        merges = f"exactly {low}" if low == high else f"at least {low}"
        return f"experts are left out until one remains, but {method.name} merges {merges}"
    return "it needs at least two experts in the merge, found one" if len(recipe.tasks) < 2 else ""


# --- what it says -----------------------------------------------------------------------------------------


def _measure(
    evaluator: Evaluator, recipe: MergeRecipe, _: Options, limit: Limit, progress: Progress | None
) -> pd.DataFrame:
    return contributions(evaluator, recipe, limit=limit, seed=recipe.seed, progress=progress)


def _requests(evaluator: Evaluator, recipe: MergeRecipe, _: Options, limit: Limit) -> list[Request]:
    orders = _orders(recipe, EXACT_UP_TO, ORDER_PAIRS, recipe.seed)
    return _requests_of(evaluator, recipe, _by_members(_wanted(recipe, orders)), limit)


def _cost(_: Evaluator, recipe: MergeRecipe) -> str:
    images = f"measured on {words.count(LIMIT, 'image')} a task"
    if len(recipe.tasks) > EXACT_UP_TO:
        return f"Sampled orders, with a standard error, {images}."
    return f"{words.count(2 ** len(recipe.tasks) - 1, 'merge')} of each expert set, {images}."


def _charts(answer: Answer[pd.DataFrame], dark: bool) -> dict[str, Chart]:
    chart = with_ends(answer.results, str(answer.options["by"]), _AXES, square, dark=dark)
    first = answer.results.before
    error = "exact" if first["exact"].all() else f"standard error at most {first['standard_error'].max():.3f} nats"
    images = words.count(int(first["n"].max()), "image")
    n = f"{images} a task; Shapley values: {error}; intervals over images on hover."
    how = (
        "Each column splits one task's interference: purple experts add to it, green ones reduce it. "
        "Both matrices share one scale."
    )
    how = how if answer.results.after is None else f"{how} {ONLY_CLEAR}"
    return {"contribution": Chart(chart, how, n=n)}


def _says(answer: Answer[pd.DataFrame]) -> str:
    column, first = str(answer.options["by"]), answer.results.before
    most = first.sort_values(column, ascending=False).iloc[0]
    share = f", {words.percent(most['share'], 0)} of what the other experts cause there" if column == "shapley" else ""
    return (
        f"Before RI the largest single contribution is by **{most['expert']}** to the interference on "
        f"**{most['task']}**: {words.nats(most[column])}{share}."
    )


_AXES = Axes(
    "expert that contributes",
    "task disturbed",
    "contribution",
    "expert <b>{row}</b>, interference on task <b>{column}</b>",
    "nats",
    own="<b>{row}</b> on its own task: always merged, causes none",
    signed=True,
)
_VIEWS = {"shapley": "Shapley value", "left_out": "leave-one-out"}

ANALYSIS = Analysis(
    name="contribution",
    title="Which expert causes the drift?",
    question="How much of a task's interference does each expert cause in this merge? Leave-one-out: how far the "
    "interference falls without the expert. Several experts may disturb a task together, so the Shapley value splits "
    "it fairly: the mean over all orders in which the other experts could have joined the task's own, at unchanged λ.",
    formula=r"""With $P$ the other experts and $\xi_t(S)$ the interference on $t$ when $S$ is merged with expert $t$:

$$\phi_i=\sum_{S\subseteq P\setminus i}\frac{|S|!\,(|P|-|S|-1)!}{|P|!}\,\big[\xi_t(S\cup i)-\xi_t(S)\big]$$

(Shapley 1953). Leave-one-out: $\xi_t(P)-\xi_t(P\setminus i)$.""",
    options=(
        Option(
            "by",
            "how a contribution is counted",
            "shapley",
            label="contribution as",
            choices=tuple(_VIEWS),
            titles=tuple(_VIEWS.values()),
            address="blame",
        ),
    ),
    measure=_measure,
    requests=_requests,
    kept=kept_table("contribution"),
    refusal=_refusal,
    cost=_cost,
    button="Compute contributions",
    limits=(FIRST_LOOK, LIMIT),
    capped=True,
    tables=lambda answer: {"contribution": answer.stacked(lambda table: table)},
    charts=_charts,
    says=_says,
    columns={
        "contribution": Columns(
            "an expert set, an expert and another task",
            {
                "experts": "",
                "task": "",
                "expert": "the expert that contributes",
                "left_out": "nats by which the task's interference falls when the expert is left out",
                "shapley": "its Shapley value in nats",
                "share": "of what all other experts cause; empty where that is not positive",
                "standard_error": "of the Shapley value from sampling orders, 0 where exact",
                "together": "the task's interference with all experts, in nats",
                "alone": "the same with its own expert only",
                "exact": "whether all orders were counted",
                "n": "",
            },
        )
    },
    contract={"blame": rows},
    place=40,
)
