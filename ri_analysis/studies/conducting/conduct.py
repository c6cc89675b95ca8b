"""Run a study: what the store holds is taken from there, the rest is measured and kept as it is finished."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ri_analysis.engine import Evaluator
from ri_analysis.progress import Counter, Progress
from ri_analysis.studies.conducting.crew import Crew, here
from ri_analysis.studies.conducting.work import Work
from ri_analysis.studies.study import Rounds

Results = dict[Work, Any]
_TRIAL = 256  # images that a dry run times


@dataclass(frozen=True)
class Plan:
    """What a study has yet to do: pieces of work, those of them that are stored, and images to encode.

    `held` are the bytes of decoded images that are held in memory for it at most.
    """

    works: int
    kept: int
    images: int
    held: int = 0


def plan(rounds: Rounds, evaluator: Evaluator) -> Plan:
    """Return what is to be done, without doing it; what depends on results is counted as if all points were equal."""
    seen: dict[Work, bool] = {}
    images = held = 0
    results: list[Any] | None = None
    while True:
        try:
            batch = next(rounds) if results is None else rounds.send(results)
        except StopIteration:
            return Plan(len(seen), sum(seen.values()), images, held)
        found = [work.kept(evaluator) for work in batch]
        new = {work: result is not None for work, result in zip(batch, found, strict=True) if work not in seen}
        for work in (work for work, done in new.items() if not done):
            images += work.cost(evaluator)
            held = max(held, work.bytes_held(evaluator))
        seen |= new
        results = [
            work.unknown(evaluator) if result is None else result for work, result in zip(batch, found, strict=True)
        ]


def conduct(
    rounds: Rounds,
    evaluator: Evaluator,
    *,
    planned: Plan,
    crew: Crew | None = None,
    progress: Progress | None = None,
    results: Results | None = None,
) -> pd.DataFrame:
    """Return a study's table; a crew does the work, or this process where there is none.

    `progress` counts images encoded, RI steps included, and may raise Cancelled; what is done is kept. `results`, where
    given, is filled with what is known, while the work is under way.
    """
    counter = Counter(progress, planned.images)
    answers: list[Any] | None = None
    while True:
        try:
            batch = next(rounds) if answers is None else rounds.send(answers)
        except StopIteration as end:
            table: pd.DataFrame = end.value
            return table
        found = _round(batch, evaluator, crew, counter, {} if results is None else results)
        answers = [found[work] for work in batch]


def _round(
    batch: Sequence[Work], evaluator: Evaluator, crew: Crew | None, counter: Counter, results: Results
) -> Results:
    """Return the results of one round, which join `results` as they become known."""
    found = {work: work.kept(evaluator) for work in dict.fromkeys(batch)}
    missing = [work for work, result in found.items() if result is None]
    results.update((work, result) for work, result in found.items() if result is not None)
    costs = [work.cost(evaluator) for work in missing]
    under_way = 0

    def within(done: int, total: int) -> None:
        counter.within(costs[under_way] * done // max(1, total))

    counter.alive()
    finished = here(evaluator, missing, within) if crew is None else crew.compute(missing)
    for number, result, seconds in finished:
        work = missing[number]
        work.keep(evaluator, result, seconds)
        found[work] = results[work] = result
        under_way = min(number + 1, len(missing) - 1)
        counter.advance(costs[number])
    return found


def seconds_an_image(evaluator: Evaluator, most: int = _TRIAL) -> float:
    """Return how long one image takes here, timed on at most so many of the first task's; merging is left out."""
    images = evaluator.suite.task_data(evaluator.suite.tasks[0])
    rows, times = range(min(most, len(images))), []
    for _ in range(3):  # the first one decodes the images; other work of the machine slows one or the other
        started = time.perf_counter()
        evaluator.encoder.features(evaluator.suite.zero_shot, images, rows)
        times.append(time.perf_counter() - started)
    return min(times) / len(rows)
