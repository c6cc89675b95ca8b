"""Which expert alone disturbs which task."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from ri_analysis.analyses.analysis import FIRST_LOOK, Analysis, Answer, Columns, Limit, Options, rows
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.measurement import Request
from ri_analysis.engine.results import kept_table
from ri_analysis.engine.sections import CROSSTALK
from ri_analysis.figures import words
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.matrices import ONLY_CLEAR, Axes, square, with_ends
from ri_analysis.intervals import clear, of_difference
from ri_analysis.measures import off_diagonal_mean
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Progress
from ri_analysis.sides import Sides

_AXES = Axes(
    "expert that disturbs",
    "task disturbed",
    "crosstalk",
    "expert <b>{row}</b> moves task <b>{column}</b>",
    "nats",
    own="expert <b>{row}</b> on its own task: what it learned, not interference",
)
_HOW = (
    "Each row is one expert alone, each column a task: how far the expert moves the task's predictions from the "
    "pretrained model's; darker is less. Both matrices share one scale; the diagonal (the expert's own task) is left "
    "out."
)


def _measure(
    evaluator: Evaluator, recipe: MergeRecipe, _: Options, limit: Limit, progress: Progress | None
) -> pd.DataFrame:
    return evaluator.crosstalk(recipe.experts, tasks=recipe.tasks, limit=limit, progress=progress)


def _requests(evaluator: Evaluator, recipe: MergeRecipe, _: Options, limit: Limit) -> list[Request]:
    parts = evaluator.sections(recipe.tasks, CROSSTALK)
    return [Request(evaluator.expert(task, recipe.experts), parts, limit) for task in recipe.tasks]


def _tables(answer: Answer[pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {"crosstalk": answer.stacked(lambda table: table)}


def _charts(answer: Answer[pd.DataFrame], dark: bool) -> dict[str, Chart]:
    if len(answer.tasks) < 2:
        return {}
    tables = answer.results
    how = _HOW if tables.after is None else f"{_HOW} {ONLY_CLEAR}"
    return {"crosstalk": Chart(crosstalk_matrices(tables, dark=dark), how, n=_based_on(tables.before))}


def crosstalk_matrices(tables: Sides[pd.DataFrame], *, dark: bool = False) -> go.Figure:
    """Draw crosstalk, expert (row) on task (column): before and after RI on one scale, and their difference.

    The diagonal is what an expert learned, not interference: it is left empty, its value is in the hover, and it has
    no part in the colour scale.
    """
    return with_ends(tables, "crosstalk", _AXES, square, dark=dark)


def _based_on(table: pd.DataFrame) -> str:
    images = words.count(int(table["n"].max()), "test image")
    return f"Based on up to {images} for each of {len(table)} pairs of expert and task."


def _says(answer: Answer[pd.DataFrame]) -> str:
    if len(answer.tasks) < 2:
        return "With one expert there is no other task to disturb."
    tables, means = answer.results, [off_diagonal_mean(table) for table in answer.results]
    said = f"On average an expert moves another task's predictions by **{words.nats(means[0])}**"
    if tables.after is None:
        return f"{said}."
    said += f" before RI, by **{words.nats(means[1])}** after"
    is_clear = clear(*of_difference(*(_mean_with_ends(table) for table in tables)))
    return f"{said}{words.times_less(*means)}." if is_clear else f"{said}: {words.NO_CLEAR_CHANGE}."


def _mean_with_ends(table: pd.DataFrame) -> tuple[float, float, float]:
    """Return the mean crosstalk between tasks with its interval, as wide as if all pairs erred alike."""
    others = table[table["expert"] != table["task"]]
    return tuple(float(others[f"crosstalk{end}"].mean()) for end in ("", "_low", "_high"))  # type: ignore[return-value]


def _by_expert(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    return {
        str(expert): dict(zip(part["task"], part["crosstalk"].astype(float), strict=True))
        for expert, part in table.groupby("expert", sort=False)
    }


ANALYSIS = Analysis(
    name="crosstalk",
    title="Who disturbs whom",
    question="How far does one expert alone move another task's predictions from the pretrained model's?",
    formula=r"""How far expert $i$ alone moves task $t$'s outputs from the pretrained model's:

$$C_{i\to t}=\mathbb{E}_{x\sim D_t}\,\mathrm{KL}\big(\sigma(h_t f(x;\theta_0))\,\|\,\sigma(h_t f(x;\theta_i))\big)$$

with $\sigma$ the softmax. The free term of RI drives it to zero.""",
    measure=_measure,
    kept=kept_table("crosstalk"),
    requests=_requests,
    of_merge=False,
    limits=(FIRST_LOOK, 128),
    tables=_tables,
    charts=_charts,
    says=_says,
    columns={
        "crosstalk": Columns(
            "an expert set, an expert and a task",
            {
                "experts": "",
                "task": "",
                "expert": "the expert that disturbs",
                "crosstalk": "mean KL in nats by which the expert alone moves the task's outputs from the pretrained "
                "model's; the diagonal is what it learned",
                "n": "",
            },
        )
    },
    contract={
        "crosstalk": _by_expert,
        "crosstalk_off_diagonal_mean": lambda table: off_diagonal_mean(table),
        "crosstalk_table": rows,
    },
    place=20,
)
