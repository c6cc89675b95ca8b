"""The set of figures a report has when nobody chose others, and what the report says before them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from ri_analysis.analyses import Answer, find_analysis
from ri_analysis.engine import Evaluator
from ri_analysis.export import facts, report
from ri_analysis.export.snapshot import Snapshot, now, versions
from ri_analysis.resolving import record_of

LIMITS = {"accuracy": None, "crosstalk": 128}  # the analyses that it is made of, with the most images a task
FIGURES = ("headline", "accuracy-by-task", "interference-by-task", "crosstalk")

_METHOD = (
    "Accuracy is the share of a task's test images that a model gets right, with Wilson 95% intervals; means over "
    "tasks weight every task equally. Interference ξ is the mean of KL(expert ‖ merged) over a task's test images, in "
    "nats, always from the original expert. Intervals of means, of ξ and of crosstalk are 95% bootstrap intervals over "
    "images (seed 0, 1,000 resamples). RI (Resolving Interference): Ramesh et al. 2026, arXiv 2603.13467."
)


def standard_set(evaluator: Evaluator, answers: Iterable[Answer[Any]], suite: str, address: str = "") -> list[Snapshot]:
    """Return the usual figures among those of some analyses' answers; `suite` is what a command calls the suite."""
    found = []
    for answer in answers:
        analysis = find_analysis(answer.analysis)
        tables, origin = analysis.tables(answer), facts.origin_of_answer(evaluator, answer, suite, address)
        for name, chart in analysis.charts(answer, False).items():
            if name in FIGURES:
                found.append(Snapshot.of(chart.figure, tables[name], name, chart.how_to_read, chart.n, origin))
    return found


def summary(evaluator: Evaluator) -> str:
    """Return what the suite is and how numbers are computed, as HTML."""
    suite = evaluator.suite
    sets = [(item.name, facts.record_in_words(record_of(suite, item.name))) for item in suite.resolved]
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
