"""How far long work is: one way to say it, for the command line, pages and jobs alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[int, int], None]
"""Takes what is done and the total; may raise Cancelled, which leaves what was finished before as it is."""

_STEADY, _HORIZON = 0.5, 30.0  # seconds until a pace is told, and over which it is smoothed at least


@dataclass
class Counter:
    """One running count over several passes, of which the total is known. It never runs backwards."""

    progress: Progress | None
    total: int
    done: int = 0
    _step: int = 0

    def within(self, step: int, _steps: int = 0) -> None:
        """Say that `step` of the pass under way are done."""
        self._step = max(self._step, step)
        if self.progress is not None:
            self.progress(min(self.done + self._step, self.total), max(1, self.total))

    def advance(self, count: int) -> None:
        """Say that a pass of `count` is finished."""
        self.done, self._step = self.done + count, 0
        self.within(0)

    def alive(self, *_: object) -> None:
        """Let work that counts something else be cancelled."""
        self.within(0)

    def first(self) -> Progress:
        """Return the progress of a pass that comes before the others, and whose size its own calls tell."""
        before, size = self.done, 0

        def within(done: int, total: int) -> None:
            nonlocal size
            self.total, size = self.total + total - size, total
            self.done = max(self.done, before + done)
            self.within(0)

        return within


class Pace:
    """How far one piece of work is, for whoever shows it: never less than before, with the time left, smoothed."""

    def __init__(self) -> None:
        self.counts = 0, 0  # done and the total, together: another thread may read them
        self._last: tuple[float, float] | None = None  # when, and the share then
        self._began, self._gained, self._taken = 0.0, 0.0, 0.0

    @property
    def share(self) -> float:
        """The share that is done, in [0, 1]."""
        return _share(*self.counts)

    def __call__(self, done: int, total: int) -> None:
        """Take a call of a Progress; one that says less than an earlier one counts for nothing."""
        share, now = _share(done, total), time.monotonic()
        if share < self.share:
            return
        self.counts = done, total
        if self._last is None:
            self._last, self._began = (now, share), now
        elapsed, gained = now - self._last[0], share - self._last[1]
        if elapsed >= _STEADY:
            kept = math.exp(-elapsed / max(_HORIZON, (now - self._began) / 4))
            self._gained, self._taken = kept * self._gained + gained, kept * self._taken + elapsed
            self._last = (now, share)

    @property
    def seconds_left(self) -> float | None:
        """Estimated from the pace of late, None before there is one."""
        return (1 - self.share) * self._taken / self._gained if self._gained > 0 else None


def _share(done: int, total: int) -> float:
    return min(1.0, done / total) if total else 0.0
