"""Work in the background: a worker for what is long, one for the rest; any session finds a job under its key."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any

from ri_analysis.errors import Cancelled
from ri_analysis.memory import explained
from ri_analysis.progress import Pace

_KEPT = 32  # finished jobs remembered


@dataclass(frozen=True)
class Seen:
    """What a job had come to when it was looked at: it is running, or it ended with a result or an error."""

    running: bool
    result: Any = None
    error: BaseException | None = None


@dataclass
class Job:
    """One piece of work, which calls `progress`; pages read the rest. Neither waits for the other.

    `unit` is what is counted, `note` says what is under way, `details` hold what the work leaves for its page.
    """

    key: str
    title: str
    details: dict[str, Any] = field(default_factory=dict)
    unit: str = "images"
    note: str = ""
    pace: Pace = field(default_factory=Pace)
    _cancel: Event = field(default_factory=Event)
    _future: Future[Any] | None = None

    def progress(self, done: int, total: int) -> None:
        """Say how much of the work is done. Raises Cancelled after `cancel`."""
        if self._cancel.is_set():
            raise Cancelled(self.title)
        self.pace(done, total)

    def cancel(self) -> None:
        """Ask the work to stop; it does at its next progress."""
        self._cancel.set()
        if self._future is not None:
            self._future.cancel()

    @property
    def cancelled(self) -> bool:
        """Whether the work was asked to stop."""
        return self._cancel.is_set()

    def look(self) -> Seen:
        """Return what the work has come to by now: looked at piece by piece, it could end in between."""
        if self._future is None or not self._future.done():
            return Seen(running=True)
        if self._future.cancelled():
            return Seen(running=False, error=Cancelled(self.title))
        error = self._future.exception()
        return Seen(running=False, result=None if error else self._future.result(), error=error)

    @property
    def running(self) -> bool:
        """Whether the work is waiting or under way."""
        return self.look().running

    def wait(self, seconds: float) -> None:
        """Wait until the work has ended, at most so long."""
        if self._future is not None:
            wait([self._future], seconds)

    @property
    def error(self) -> BaseException | None:
        """What ended the work early, None while it runs and when it was finished."""
        return self.look().error


class Jobs:
    """The jobs of a server that wait for one another."""

    def __init__(self, name: str = "jobs") -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"ri-analysis-{name}")
        self._long = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"ri-analysis-long-{name}")
        self._jobs: dict[str, Job] = {}
        self._lock = Lock()

    def start(
        self,
        key: str,
        title: str,
        work: Callable[[Job], Any],
        details: dict[str, Any] | None = None,
        unit: str = "images",
        *,
        long: bool = False,
    ) -> Job:
        """Start `work` under `key`, or return the job that already runs there.

        What takes minutes or more is `long`: it waits for other long work only, and none of the rest waits for it.
        """
        with self._lock:
            known = self._jobs.get(key)
            if known is not None and known.running:
                return known
            job = Job(key, title, details or {}, unit)
            job._future = (self._long if long else self._executor).submit(explained()(work), job)
            self._jobs.pop(key, None)
            self._jobs[key] = job
            done = [name for name, other in self._jobs.items() if not other.running]
            for name in done[: max(0, len(self._jobs) - _KEPT)]:
                del self._jobs[name]
            return job

    def get(self, key: str) -> Job | None:
        """Return the latest job under `key`."""
        return self._jobs.get(key)

    def drop(self, key: str) -> None:
        """Forget a finished job."""
        with self._lock:
            job = self._jobs.get(key)
            if job is not None and not job.running:
                del self._jobs[key]

    def starting_with(self, prefix: str) -> list[Job]:
        """Return the jobs whose key starts with `prefix`, oldest first."""
        return [job for key, job in list(self._jobs.items()) if key.startswith(prefix)]
