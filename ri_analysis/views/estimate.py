"""What an RI run will take here: steps are timed in the background, once for all runs that share them, and kept."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import streamlit as st

from ri_analysis.engine import Evaluator, pick_device
from ri_analysis.hyperparameters import Value
from ri_analysis.resolving import Forecast, Pace, forecast, pace
from ri_analysis.resolving.forecast import affects_pace
from ri_analysis.ui import resources
from ri_analysis.ui.jobs import Job

PATIENCE = 1.0  # seconds that a page waits for what is being timed
_JOBS = "estimates"  # which do not wait for other background work


def expected(
    evaluator: Evaluator,
    auxiliary: str,
    settings: Mapping[str, Value],
    tasks: tuple[str, ...],
    seed: int,
    folder: Path,
) -> Forecast | None:
    """Return what a run will take, None while its steps are timed. Raises InputError for one that can't be."""
    measured = _pace(evaluator, auxiliary, settings, tasks)
    if measured is None:
        return None
    run = (auxiliary, tuple(settings.items()), tasks, seed, folder)

    def work() -> Forecast:
        return forecast(
            evaluator.suite,
            auxiliary=auxiliary,
            name=folder.name,
            pace=measured,
            settings=settings,
            tasks=tasks,
            directory=folder,
            seed=seed,
        )

    found: Forecast = resources.remembered(("RI forecast", str(evaluator.suite.spec.path), measured, *run), work)
    return found


def _pace(evaluator: Evaluator, auxiliary: str, settings: Mapping[str, Value], tasks: tuple[str, ...]) -> Pace | None:
    suite, device = evaluator.suite, pick_device(resources.device())
    key = (
        "RI pace",
        str(suite.spec.path),
        evaluator.architecture.fingerprint,
        auxiliary,
        tasks,
        tuple(affects_pace(settings, evaluator.architecture).items()),
    )
    found: Pace | None = resources.memory().get(key)
    if found is not None:
        return found
    held = resources.memory()

    def work(_: Job) -> None:
        held.put(key, pace(suite, auxiliary, settings, tasks, device))

    jobs, name = resources.jobs(_JOBS), str(key)
    job = jobs.get(name)
    if job is None or not job.running:
        job = jobs.start(name, "Timing a step", work)
    job.wait(PATIENCE)
    if job.error is not None:
        raise job.error
    return resources.memory().get(key)


def follow() -> None:
    """Run the page again once nothing is being timed any more."""
    under_way = [job for job in resources.jobs(_JOBS).starting_with("") if job.running]
    if under_way:
        st.fragment(partial(_follow, under_way), run_every=1.0)()


def _follow(under_way: list[Job]) -> None:
    if not all(job.running for job in under_way):
        st.rerun()
