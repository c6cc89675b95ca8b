"""The set of figures a report has when nobody chose others, and what the report says before them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

import pandas as pd

from ri_analysis import figures
from ri_analysis.engine import Comparison, Evaluator
from ri_analysis.export import facts, report
from ri_analysis.export.snapshot import Snapshot, now, versions
from ri_analysis.figures import reading
from ri_analysis.merging import MergeRecipe

IMAGES = 128  # images per expert and task for crosstalk

_METHOD = (
    "Accuracy is the share of a task's test images that a model gets right, with Wilson 95% intervals; means over "
    "tasks count every task the same. Interference ξ is the mean of KL(expert ‖ merged) over a task's test images, in "
    "nats, always from the original expert. Intervals of means, of ξ and of crosstalk are 95% bootstrap intervals over "
    "images (seed 0, 1,000 resamples). RI (Resolving Interference): Ramesh et al. 2026, arXiv 2603.13467."
)


def standard_set(
    evaluator: Evaluator,
    recipes: Sequence[MergeRecipe],
    comparison: Comparison,
    crosstalk: Sequence[pd.DataFrame],
    suite: str,
    address: str = "",
) -> list[Snapshot]:
    """Return means, accuracy and interference per task, and crosstalk, of one recipe before and after RI.

    `crosstalk` holds one table per recipe; `suite` is what a command calls the suite.
    """
    before, after = comparison.before.table, comparison.after_table
    n = reading.resting_on(comparison.n, len(before), comparison.before.full)
    means, by_task = comparison.headline_table(), comparison.table()
    disturbed = pd.concat(
        [table.assign(experts=recipe.experts) for recipe, table in zip(recipes, crosstalk, strict=True)],
        ignore_index=True,
    )

    crosses = figures.crosstalk_matrices(crosstalk[0], crosstalk[1] if len(crosstalk) > 1 else None)
    rests = reading.crosstalk_rests_on(crosstalk[0])
    drawn = [
        ("headline", figures.headline(means), means, reading.HEADLINE, n),
        ("accuracy-by-task", figures.accuracy_by_task(before, after), by_task, reading.ACCURACY_BY_TASK, n),
        ("interference-by-task", figures.interference_by_task(before, after), by_task, reading.INTERFERENCE_BY_TASK, n),
        ("crosstalk", crosses, disturbed, reading.CROSSTALK, rests),
    ]
    if len(before) == 1:
        drawn.pop()  # nobody to disturb
    return [
        Snapshot.of(chart, table, name, how, rest, facts.origin(evaluator, recipes, suite, name, address))
        for name, chart, table, how, rest in drawn
    ]


def summary(evaluator: Evaluator) -> str:
    """Return what the suite is and how numbers are computed, as HTML."""
    suite = evaluator.suite
    sets = [(item.name, facts.record_in_words(suite.record(item.name))) for item in suite.resolved]
    program = [("Digest", suite.digest()), ("Versions", ", ".join(f"{name} {version}" for name, version in versions()))]
    return (
        f"<p>{_bold(facts.suite_in_words(evaluator))}</p>{report.table(facts.task_table(evaluator))}"
        f"{report.definitions([(name, _unmarked(text)) for name, text in sets])}"
        f"<h2>How numbers are computed</h2><p>{escape(_METHOD)}</p>"
        f"{report.definitions([*program, ('Report made', now())])}"
    )


def written(evaluator: Evaluator, snapshots: Sequence[Snapshot]) -> bytes:
    """Return the report on a suite with these figures."""
    return report.page(f"ri-analysis: {evaluator.suite.name}", snapshots, summary(evaluator))


def _bold(text: str) -> str:
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(text))


def _unmarked(text: str) -> str:
    return text.replace("**", "")
