"""Which classes of a task turn into which: the merged model's predictions against the expert's, or the true classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ri_analysis.analyses import drift
from ri_analysis.analyses.analysis import Analysis, Answer, Columns, Option
from ri_analysis.analyses.drift import Drift
from ri_analysis.figures import words
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.matrices import ONLY_CLEAR, Axes, with_ends
from ri_analysis.intervals import wilson
from ri_analysis.sides import Sides

OTHERS = "all others\u2060"  # with a mark that is not seen: a class may be called "all others"
_MOST = 11  # classes with a row of their own in the figure; the rest shares one
_ROWS = {"expert": "expert_says", "class": "class"}
_AXES = {
    "expert": Axes(
        "the expert predicts",
        "the merged model predicts",
        "share of the row's images",
        "the expert predicts {row}, the merged model {column}",
        own="both predict {row}",
    ),
    "class": Axes(
        "true class",
        "the merged model predicts",
        "share of the row's images",
        "{row}, taken for {column}",
        own="{row}, recognised",
    ),
}


def flip_table(drift: Drift, task: str, rows: str) -> pd.DataFrame:
    """Return one row per pair of classes that occurs among a task's images.

    `task`, `from` (what the expert says where `rows` is "expert", the true class where it is "class"), `to` (what the
    merged model says), `n` (images of `from`), `count` (of them, predicted as `to`), `share` with its Wilson interval.
    """
    images = drift.images()
    chosen = images[images["task"] == task]
    pairs = pd.DataFrame({"from": chosen[_ROWS[rows]], "to": chosen["merged_says"], "count": 1})
    return _counted(pairs, drift.classes[task]).assign(task=task)


def _counted(pairs: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """Return one row per pair of names, in the order of the names, with the sum of its counts and their share."""
    found: pd.DataFrame = pairs.groupby(["from", "to"])["count"].sum().reset_index()
    found = found.sort_values(["from", "to"], key=lambda names: names.map(list(order).index), ignore_index=True)
    found["n"] = found.groupby("from")["count"].transform("sum")
    ends = np.array([wilson(count, n) for count, n in zip(found["count"], found["n"], strict=True)]).reshape(-1, 2)
    return found.assign(share=found["count"] / found["n"], share_low=ends[:, 0], share_high=ends[:, 1])


def _options(answer: Answer[Drift]) -> tuple[str, str]:
    return str(answer.options["task"]), str(answer.options["rows"])


def flips_of(answer: Answer[Drift]) -> Sides[pd.DataFrame]:
    """Return the flip table of each side, for the chosen task."""
    task, rows = _options(answer)
    return answer.results.map(lambda each: flip_table(each, task, rows))


def _tables(answer: Answer[Drift]) -> dict[str, pd.DataFrame]:
    named = [table.assign(experts=recipe.experts) for recipe, table in answer.recipes.zip(flips_of(answer))]
    first = ["experts", "task", "from", "to"]
    table = pd.concat(named, ignore_index=True)
    return {"flips": table[[*first, *(name for name in table.columns if name not in first)]]}


def shown_classes(tables: Sides[pd.DataFrame]) -> list[str]:
    """Return the classes that get a row of their own: those with the most flips where there are too many for all."""
    changed = pd.concat([table[table["from"] != table["to"]] for table in tables])
    names = list(dict.fromkeys(name for table in tables for name in [*table["from"], *table["to"]]))
    if len(names) <= _MOST + 1:
        return names
    flips = changed.groupby("from")["count"].sum().add(changed.groupby("to")["count"].sum(), fill_value=0)
    most = set(flips.sort_values(ascending=False, kind="stable").index[:_MOST])
    return [name for name in names if name in most]


def _grouped(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return the flip table with all classes but `names` taken as one."""
    sides = {side: table[side].where(table[side].isin(names), OTHERS) for side in ("from", "to")}
    return _counted(table.assign(**sides), [*names, OTHERS])


def _matrix(table: pd.DataFrame, column: str, names: list[str]) -> pd.DataFrame:
    """Return a column as a matrix; a pair that does not occur has a share of 0, with its interval."""
    sizes = table.drop_duplicates("from").set_index("from")["n"]
    cells = table.pivot(index="from", columns="to", values=column).reindex(index=names, columns=names)
    for name in names:
        empty = cells.loc[name].isna()
        if name in sizes.index:
            cells.loc[name, empty] = wilson(0, int(sizes[name])).high if column.endswith("_high") else 0.0
    return cells


def _charts(answer: Answer[Drift], dark: bool) -> dict[str, Chart]:
    (task, rows), tables = _options(answer), flips_of(answer)
    names = shown_classes(tables)
    grouped = tables.map(lambda table: _grouped(table, names))
    if any(OTHERS in set(table["from"]) | set(table["to"]) for table in grouped):
        names = [*names, OTHERS]
    figure = with_ends(grouped, "share", _AXES[rows], lambda table, column: _matrix(table, column, names), dark=dark)
    for trace, table in zip(figure.select_traces({"type": "heatmap"}), grouped, strict=False):
        trace.hovertext = _with_counts(trace.hovertext, table, names)
    how = "Each row is a class: brighter cells show which classes its images turn into. The diagonal is left out."
    if OTHERS in names:
        how += f" The {len(names) - 1} classes that change most have a row of their own."
    if tables.after is not None:
        how = f"{how} {ONLY_CLEAR}"
    n = int(answer.results.before.expert[task].size)
    return {"flips": Chart(figure, how, n=f"Based on {words.count(n, 'image')} of {task}.")}


def _with_counts(texts: Sequence[Sequence[str]], table: pd.DataFrame, names: Sequence[str]) -> list[list[str]]:
    """Return the cells' texts with the images that each cell stands for."""
    counts = {(row["from"], row["to"]): int(row["count"]) for _, row in table.iterrows()}
    sizes = dict(zip(table["from"], table["n"], strict=True))
    return [
        [
            f"{text}<br>{counts.get((first, second), 0):,} of {words.count(int(sizes.get(first, 0)), 'image')}"
            for second, text in zip(names, row, strict=True)
        ]
        for first, row in zip(names, texts, strict=True)
    ]


def _says(answer: Answer[Drift]) -> str:
    task, rows = _options(answer)
    said = [_most(table, f"{stage} RI") for stage, table in flips_of(answer).stages.items()]
    other = "the expert's prediction" if rows == "expert" else "the true class"
    return f"Images of {task} whose predicted class differs from {other}: {'; '.join(said)}."


def _most(table: pd.DataFrame, when: str) -> str:
    changed = table[table["from"] != table["to"]]
    if changed.empty:
        return f"none {when}"
    most = changed.nlargest(1, "count").iloc[0]
    return f"**{changed['count'].sum():,}** {when}, most often {most['from']} → {most['to']} ({most['count']:,})"


ANALYSIS = Analysis(
    name="flips",
    title="Which classes turn into which",
    question="Which of a task's classes does the merged model take for which others?",
    options=(
        Option("task", "the task whose classes are shown", "", task=0),
        Option(
            "rows",
            "what the merged model's predictions are compared with",
            "expert",
            label="against",
            choices=tuple(_ROWS),
            titles=("the expert's predictions", "the true classes"),
        ),
    ),
    measure=drift.ANALYSIS.measure,
    requests=drift.ANALYSIS.requests,
    kept=drift.KEPT,
    limits=drift.ANALYSIS.limits,
    tables=_tables,
    charts=_charts,
    says=_says,
    columns={
        "flips": Columns(
            "an expert set and a pair of classes of the chosen task that occurs",
            {
                "experts": "",
                "task": "",
                "from": "what the task's original expert predicts, or the true class, by the option `rows`",
                "to": "what the merged model predicts",
                "count": "images of `from` that become `to`",
                "n": "images of `from`",
                "share": "`count / n`, with its Wilson interval",
            },
        )
    },
    page="",
)
