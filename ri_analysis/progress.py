"""How far long work is: one way to say it, for the command line, pages and jobs alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[int, int], None]
"""Takes what is done and the total; may raise Cancelled, which leaves what was finished before as it is."""


@dataclass
class Counter:
    """One running count over several passes of known size."""

    progress: Progress | None
    total: int
    done: int = 0

    def within(self, step: int) -> None:
        """Say that `step` of the pass under way are done."""
        if self.progress is not None:
            self.progress(min(self.done + step, self.total), max(1, self.total))

    def advance(self, count: int) -> None:
        """Say that a pass of `count` is finished."""
        self.done += count
        self.within(0)

    def alive(self, *_: object) -> None:
        """Let work that counts something else be cancelled."""
        self.within(0)
