"""How far a command has come, on stderr."""

from __future__ import annotations

import sys
import time
from typing import Any

_EVERY = 10.0  # seconds between two lines of progress where stderr is no terminal


class Progress:
    """A bar on stderr with the time left; where stderr is no terminal, a line every few seconds."""

    def __init__(self, what: str, unit: str = "images") -> None:
        self._what, self._unit, self._note = what, unit, ""
        self._live, self._shown = sys.stderr.isatty(), time.monotonic()
        self._bar: Any = None
        self._began, self._first, self._done = self._shown, 0, 0

    def note(self, text: str) -> None:
        """Say what is under way, beside the next numbers."""
        self._note = text

    def __call__(self, done: int, total: int) -> None:
        if self._live:
            self._draw(done, total)
        else:
            self._print(done, total)

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def _draw(self, done: int, total: int) -> None:
        from tqdm import tqdm

        if self._bar is None or done < self._bar.n or total != self._bar.total:
            self.end()  # another piece of work begins
            shown: dict[str, Any] = {"desc": self._what, "unit": f" {self._unit}", "leave": False, "file": sys.stderr}
            self._bar = tqdm(total=total, initial=done, miniters=0, dynamic_ncols=True, **shown)
        self._bar.set_postfix_str(self._note, refresh=False)
        self._bar.update(done - self._bar.n)

    def _print(self, done: int, total: int) -> None:
        from tqdm import tqdm

        now = time.monotonic()
        if done < self._done:  # another piece of work begins
            self._began, self._first = now, done
        self._done = done
        if now - self._shown < _EVERY or done <= self._first:
            return
        self._shown = now
        form = f"{{desc}} {{percentage:3.0f}}%  {{n_fmt}}/{{total_fmt}} {self._unit}  {{remaining}} left{{postfix}}"
        shown = {"prefix": self._what, "postfix": self._note, "bar_format": form, "initial": self._first}
        print(tqdm.format_meter(done, total, now - self._began, **shown), file=sys.stderr, flush=True)
