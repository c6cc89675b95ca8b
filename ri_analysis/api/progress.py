"""How far a call or command has come, on stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from ri_analysis.progress import Pace

_EVERY = 10.0  # seconds between two lines of progress where stderr is no terminal


class Progress:
    """A bar on stderr with the time left, in a terminal or a notebook, which goes away at the end.

    Elsewhere it prints a line every few seconds with `lines`, and else nothing; `quiet` always shows nothing.
    """

    def __init__(self, what: str, unit: str = "images", *, lines: bool = True, quiet: bool = False) -> None:
        self._what, self._unit, self._note = what, unit, ""
        self._live = not quiet and (sys.stderr.isatty() or _in_notebook())
        self._lines, self._shown = lines and not quiet, time.monotonic()
        self._bar: Any = None
        self._pace = Pace()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def note(self, text: str) -> None:
        """Say what is under way, beside the next numbers."""
        self._note = text

    def say(self, text: str) -> None:
        """Print a line that stays, above the bar."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        elif self._live or self._lines:
            print(text, file=sys.stderr, flush=True)

    def __call__(self, done: int, total: int) -> None:
        self._pace(done, total)
        if self._live:
            self._draw(*self._pace.counts)
        elif self._lines:
            self._print()

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def _draw(self, done: int, total: int) -> None:
        from tqdm.auto import tqdm

        if self._bar is None:
            shown: dict[str, Any] = {"desc": self._what, "unit": f" {self._unit}", "leave": False, "file": sys.stderr}
            self._bar = tqdm(total=total, initial=done, miniters=0, dynamic_ncols=True, **shown)
        self._bar.total = total
        self._bar.set_postfix_str(self._note, refresh=False)
        self._bar.update(done - self._bar.n)

    def _print(self) -> None:
        from ri_analysis.figures import words

        now = time.monotonic()
        if now - self._shown >= _EVERY and self._pace.counts[0]:
            self._shown = now
            said = words.how_far(self._what, self._pace, self._note, self._unit)
            print(f"{self._pace.share:.0%}  {said}", file=sys.stderr, flush=True)


def _in_notebook() -> bool:
    # Other libraries import IPython, too: what counts is whether a notebook's kernel runs this process.
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None
