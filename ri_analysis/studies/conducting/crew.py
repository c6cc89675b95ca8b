"""Who carries out a study's work: this process, or workers on any concurrent.futures.Executor."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import torch

from ri_analysis import plugins
from ri_analysis.engine import Evaluator, Store
from ri_analysis.errors import InputError
from ri_analysis.memory import divide, require_for
from ri_analysis.progress import Progress
from ri_analysis.studies.conducting.work import Work
from ri_analysis.suite import open_suite
from ri_analysis.workers import fresh_processes, hold_on, lifeline, starting

Executors = Callable[[], AbstractContextManager[Executor]]

_LOSSES = 3  # rounds in a row that may end with lost workers and nothing done


@dataclass(frozen=True)
class Place:
    """Where a worker finds the suite: the same paths on every machine.

    `number_format` is what all of them measure in; `threads` are each worker's, None where whoever starts the workers
    decides. `plugins` are loaded by each worker: names, and digests of their sources.
    """

    suite: str
    workspace: Path
    device: str
    number_format: torch.dtype
    threads: int | None = None
    plugins: tuple[tuple[str, str], ...] = field(default_factory=lambda: tuple(plugins.loaded().items()))


class Done(NamedTuple):
    """One piece of finished work: its place in the list, its result, and the seconds it took."""

    number: int
    result: Any
    seconds: float


def here(evaluator: Evaluator, works: Sequence[Work], progress: Progress | None) -> Iterator[Done]:
    """Do works one after the other in this process; what another finished meanwhile is taken over."""
    for number, work in enumerate(works):
        started = time.perf_counter()
        result = work.kept(evaluator)
        if result is None:
            result = work.compute(evaluator, progress)
        yield Done(number, result, time.perf_counter() - started)


class Crew:
    """Workers of an executor at a place. They stay from one round to the next: each opens the suite only once.

    A context, with which the workers end.
    """

    def __init__(self, place: Place, executors: Executors) -> None:
        self._place, self._executors = place, executors
        self._executor: Executor | None = None
        self._open = ExitStack()

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dismiss()

    def compute(self, works: Sequence[Work]) -> Iterator[Done]:
        """Do works; results come as they are finished, in any order.

        A lost worker's unfinished work is given to another. Raises InputError when workers are lost again and again.
        """
        left, losses = dict(enumerate(works)), 0
        while left:
            before = len(left)
            yield from self._try(left)
            losses = losses + 1 if len(left) == before else 0
            if losses == _LOSSES:
                raise InputError(f"workers ended {losses} times without finishing anything; is there enough memory?")

    def _try(self, left: dict[int, Work]) -> Iterator[Done]:
        """Hand out the works that are left, and take from `left` those that get finished."""
        executor, futures = self._engage(), dict[Future[Any], int]()
        try:
            for number, work in left.items():
                futures[executor.submit(_on_worker, self._place, pickle.dumps(work))] = number
            for future in as_completed(futures):
                result, seconds = future.result()
                del left[futures[future]]
                yield Done(futures[future], result, seconds)
        except BrokenExecutor:
            self._dismiss()  # lost with a worker: its unfinished work is still in `left`
        finally:
            for future in futures:
                future.cancel()  # after an error or Cancelled; what is finished does not mind

    def _engage(self) -> Executor:
        if self._executor is None:
            self._executor = self._open.enter_context(self._executors())
        return self._executor

    def _dismiss(self) -> None:
        self._executor = None
        self._open.close()


def process_pool(jobs: int) -> Executors:
    """Return the maker of a pool of `jobs` processes on this machine, which end with it, or when this one does.

    What they are doing by then is not awaited.
    """
    require_for(jobs)

    @contextmanager
    def executors() -> Iterator[Executor]:
        with lifeline() as life:
            with starting():
                pool = ProcessPoolExecutor(
                    jobs, mp_context=fresh_processes(), initializer=_begin, initargs=(jobs, life)
                )
                for _ in range(jobs):
                    pool.submit(int)  # each starts a process
            try:
                yield pool
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    return executors


def _begin(jobs: int, life: Any) -> None:
    divide(jobs)
    hold_on(life)


def dask_scheduler(address: str) -> Executors:
    """Return the maker of an executor on a running Dask scheduler. Raises InputError when Dask is not installed."""
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError("--scheduler needs Dask: install ri-analysis[cluster]") from error

    @contextmanager
    def executors() -> Iterator[Executor]:
        try:
            client: Any = Client(address, timeout=10)  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            raise InputError(
                f"--scheduler {address}: expected a running Dask scheduler, found none: {error}"
            ) from error
        with client:
            yield client.get_executor(pure=False)

    return executors


def _on_worker(place: Place, pickled: bytes) -> tuple[Any, float]:
    plugins.load_same(dict(place.plugins))
    work: Work = pickle.loads(pickled)  # of the process that hands out the work; it may be a plug-in's
    if _evaluator(place).suite.files.changed() is not None:
        _evaluator.cache_clear()  # a worker may outlive a study
    evaluator, started = _evaluator(place), time.perf_counter()
    result = work.compute(evaluator)
    evaluator.suite.files.check()
    return result, time.perf_counter() - started


@lru_cache(maxsize=1)
def _evaluator(place: Place) -> Evaluator:
    """Return the worker's own evaluator: it opens the suite once.

    Its answers go to whoever gave the work: a store that several machines write to would not last.
    """
    if place.threads is not None:
        torch.set_num_threads(place.threads)
    store = Store(place.workspace, in_memory=True)
    suite = open_suite(place.suite, place.workspace)
    return Evaluator(suite, device=place.device, number_format=place.number_format, store=store)
