"""Carry a study out: what the store holds is taken from there, the rest is measured and kept as it is finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ri_analysis.engine.crew import Crew, here
from ri_analysis.engine.points import Bench, Work
from ri_analysis.studies.study import Rounds

Report = Callable[["Tally"], None]
_TRIAL = 256  # images that a dry run times


@dataclass(frozen=True)
class Plan:
    """What a study has yet to do: pieces of work, those of them that are kept already, and images to encode.

    `held` are the bytes of the images that are held in memory for it.
    """

    works: int
    kept: int
    images: int
    held: int = 0


@dataclass
class Tally:
    """How far a study is. `images` counts encodings, RI steps included; `latest` are this round's results so far."""

    plan: Plan
    works: int = 0
    images: int = 0
    latest: dict[Work, Any] = field(default_factory=dict)

    @property
    def fraction(self) -> float:
        """Share of the work that is done, in [0, 1]."""
        return min(1.0, self.images / self.plan.images) if self.plan.images else 1.0


def plan(rounds: Rounds, bench: Bench) -> Plan:
    """Return what is to be done, without doing it; what depends on results is counted as if all points were equal."""
    seen: dict[Work, bool] = {}
    held: dict[str, int] = {}
    images = 0
    results: list[Any] | None = None
    while True:
        try:
            batch = next(rounds) if results is None else rounds.send(results)
        except StopIteration:
            return Plan(len(seen), sum(seen.values()), images, sum(held.values()))
        found = [work.kept(bench) for work in batch]
        new = {work: result is not None for work, result in zip(batch, found, strict=True) if work not in seen}
        for work in (work for work, done in new.items() if not done):
            images += work.images(bench)
            for name, size in work.held(bench).items():
                held[name] = max(size, held.get(name, 0))
        seen |= new
        results = [work.blank(bench) if result is None else result for work, result in zip(batch, found, strict=True)]


def conduct(
    rounds: Rounds, bench: Bench, *, planned: Plan, crew: Crew | None = None, report: Report | None = None
) -> pd.DataFrame:
    """Return a study's table; a crew does the work, or this process where there is none.

    `report` is called as work is done and may raise Cancelled; what is done is kept.
    """
    tally = Tally(planned)
    results: list[Any] | None = None
    while True:
        try:
            batch = next(rounds) if results is None else rounds.send(results)
        except StopIteration as end:
            table: pd.DataFrame = end.value
            return table
        results = _round(batch, bench, crew, tally, report or (lambda _: None))


def _round(batch: Sequence[Work], bench: Bench, crew: Crew | None, tally: Tally, report: Report) -> list[Any]:
    found = {work: work.kept(bench) for work in dict.fromkeys(batch)}
    missing = [work for work, result in found.items() if result is None]
    tally.latest = {work: result for work, result in found.items() if result is not None}
    started = tally.images

    def within(done: int, total: int) -> None:
        tally.images = started + min(done, total)
        report(tally)

    report(tally)
    finished = here(bench, missing, within) if crew is None else crew.carry_out(missing)
    for number, result, seconds in finished:
        work = missing[number]
        work.keep(bench, result, seconds)
        found[work] = tally.latest[work] = result
        started += work.images(bench)
        tally.works, tally.images = tally.works + 1, started
        report(tally)
    return [found[work] for work in batch]


def seconds_an_image(bench: Bench) -> float:
    """Return how long one image takes here, timed on a few of the first task's; merging is left out."""
    evaluator = bench.evaluator
    images = evaluator.suite.task_data(evaluator.suite.tasks[0])
    rows, times = range(min(_TRIAL, len(images))), []
    for _ in range(3):  # the first one decodes the images; other work of the machine slows one or the other
        started = time.perf_counter()
        bench.encoder.features(evaluator.suite.zero_shot, images, rows)
        times.append(time.perf_counter() - started)
    return min(times) / len(rows)
