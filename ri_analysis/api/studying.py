"""A study on an opened suite: planned, estimated, conducted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING

from ri_analysis.api.results import Studied
from ri_analysis.hyperparameters import Value
from ri_analysis.studies import Study
from ri_analysis.studies.conducting.conduct import conduct, plan
from ri_analysis.studies.conducting.crew import Crew, Place, dask_scheduler, process_pool
from ri_analysis.studies.conducting.tables import KeptTable
from ri_analysis.studies.output import estimate
from ri_analysis.workers import threads_each

if TYPE_CHECKING:
    from ri_analysis.api.opened import OpenedSuite


class PlannedStudy:
    """A study with all its settings, on a suite whose number format is chosen; a table that is kept is found."""

    def __init__(
        self, opened: OpenedSuite, suite: str, device: str, study: Study, settings: Mapping[str, Value]
    ) -> None:
        self._opened, self._suite, self._device = opened, suite, device
        self._study, self._settings = study, settings
        evaluator = opened.evaluator
        self._kept = KeptTable.of_study(study, settings, evaluator)
        self._known = self._kept.find()
        self._plan = plan(study.rounds(evaluator, settings), evaluator) if self._known is None else self._known.plan

    def estimate(self, jobs: int = 1) -> str:
        """Return what it would do, in words: measurements, time and memory."""
        return estimate(self._study, self._opened.evaluator, self._plan, jobs)

    def conduct(self, *, jobs: int = 1, scheduler: str | None = None, progress: bool = True) -> Studied:
        """Measure what is not known: here, by `jobs` processes, or by the workers of a Dask scheduler."""
        evaluator, crew, started = self._opened.evaluator, self._crew(jobs, scheduler), time.monotonic()
        if self._known is not None:
            table = self._known.table
        else:
            with self._opened.progress(self._study.name, quiet=not progress) as show, crew or nullcontext():
                rounds = self._study.rounds(evaluator, self._settings)
                table = conduct(rounds, evaluator, planned=self._plan, crew=crew, progress=show)
            table = self._kept.keep(table, self._plan.works, time.monotonic() - started)
        seconds = time.monotonic() - started
        return Studied(self._study, self._settings, table, self._plan, seconds, evaluator, self._suite)

    def _crew(self, jobs: int, scheduler: str | None) -> Crew | None:
        if scheduler is None and jobs == 1:
            return None
        evaluator = self._opened.evaluator
        where = (str(evaluator.suite.spec.path), evaluator.store.workspace.resolve(), self._device)
        if scheduler is not None:
            return Crew(Place(*where, evaluator.number_format), dask_scheduler(scheduler))
        return Crew(Place(*where, evaluator.number_format, threads_each(jobs)), process_pool(jobs))
