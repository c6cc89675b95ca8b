"""How far long work is: one way to say it, for the command line, pages and jobs alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

Progress = Callable[[int, int], None]
"""Takes what is done and the total, 0 where that is not known yet; may raise Cancelled, which leaves what was finished
before as it is."""

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


class Parts:
    """One running count over so many parts of the work, each of which tells its own size as it goes.

    A part that has not begun counts as large as those that have. Parts may run side by side.
    """

    def __init__(self, progress: Progress | None, count: int) -> None:
        self._progress, self._count = progress, count
        self._known: dict[int, tuple[int, int]] = {}
        self._lock = Lock()

    def part(self, place: int) -> Progress | None:
        """Return the progress of one part, whose pieces of work add up where there are several in a row."""
        if self._progress is None:
            return None
        chain = _Chain()

        def within(done: int, total: int) -> None:
            with self._lock:  # counts of two parts must not overtake one another
                self._known |= {earlier: (0, 0) for earlier in range(place) if earlier not in self._known}
                self._known[place] = chain(done, total)
                self._tell()

        return within

    def _tell(self) -> None:
        done, total = (sum(each) for each in zip(*self._known.values(), strict=True))
        begun = sum(size > 0 for _, size in self._known.values())
        waiting = self._count - len(self._known)
        assert self._progress is not None  # or nobody would call
        self._progress(done, total + (round(total / begun * waiting) if begun else 0))


class _Chain:
    """Pieces of work in a row as one count: what is done never falls, and what it is of grows with each piece."""

    def __init__(self) -> None:
        self._before, self._done, self._total = 0, 0, 0

    def __call__(self, done: int, total: int) -> tuple[int, int]:
        """Take a call of a Progress; one without a total only says that the work is alive."""
        if total > 0:
            if done < self._done:  # another piece begins
                self._before += self._done
            self._done, self._total = done, max(done, total)
        return self._before + self._done, self._before + self._total


class Pace:
    """How far some work is, for whoever shows it: counts and a share that never fall, and the time left, smoothed.

    Pieces of work in a row add up, and the end may move further away: then the share waits until it is true again.
    """

    def __init__(self) -> None:
        self.counts = 0, 0  # done and the total, together: another thread may read them
        self.share = 0.0  # in [0, 1]
        self._chain = _Chain()
        self._last: tuple[float, int] | None = None  # when, and what was done then
        self._began, self._gained, self._taken = 0.0, 0.0, 0.0

    def __call__(self, done: int, total: int) -> None:
        """Take a call of a Progress."""
        now, (done, total) = time.monotonic(), self._chain(done, total)
        if not total:
            return
        self.counts, self.share = (done, total), max(self.share, done / total)
        if self._last is None:
            self._last, self._began = (now, done), now
        elapsed, gained = now - self._last[0], done - self._last[1]
        if elapsed >= _STEADY:
            kept = math.exp(-elapsed / max(_HORIZON, (now - self._began) / 4))
            self._gained, self._taken = kept * self._gained + gained, kept * self._taken + elapsed
            self._last = (now, done)

    @property
    def seconds_left(self) -> float | None:
        """Estimated from the pace of late, None before there is one."""
        done, total = self.counts
        return (total - done) * self._taken / self._gained if self._gained > 0 else None
