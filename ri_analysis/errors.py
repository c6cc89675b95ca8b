"""The one error a user can cause."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_LINE, _LINES = 600, 100  # characters of a message's line, and lines
TOLD_TO_END: list[int] = []
"""Signals that told this process to end: a library that one meets may make an error of its own of it."""


class InputError(ValueError):
    """Bad input: the message names the file, key or tensor, what was expected and what was found.

    Whatever a file put into it, it is a few lines of printable characters.
    """

    def __str__(self) -> str:
        return bounded(super().__str__())


class WriteError(InputError, OSError):
    """A file that can't be written. An OSError as well, for those who can go on without the file."""


class ChangedFile(InputError):
    """A file is not what it was when it was opened: what was read of it must not be used any more."""


class NotFinite(InputError):
    """A model's outputs are NaN or infinite: nothing can be measured on it."""


class Cancelled(Exception):
    """Long work stopped on request; what was finished before is kept."""


def listing(names: Sequence[object], most: int) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


@contextmanager
def one_message(source: object, expected: str) -> Iterator[None]:
    """Turn whatever goes wrong while `source` is read into one InputError. What already says so passes unchanged."""
    try:
        yield
    except (InputError, Cancelled):
        raise
    except Exception as error:  # a damaged or hostile file can make any library fail in any way
        if TOLD_TO_END:
            raise KeyboardInterrupt from error
        raise InputError(f"{source}: expected {expected}, found {in_short(error)}") from error


def in_short(error: Exception) -> str:
    """Return what went wrong, in one short line."""
    if isinstance(error, FileNotFoundError):
        return "none"
    if isinstance(error, MemoryError):
        return "more than there is memory for"
    if isinstance(error, RecursionError):
        return "too many levels of nesting"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    words = " ".join(text[:300].split())
    return words.lower() if isinstance(error, OSError) else f"damaged data ({type(error).__name__}: {words})"


def bounded(text: str) -> str:
    """Return `text` without what is not printable, its lines and their number cut to what one reads."""
    lines = text[: 2 * _LINE * _LINES].split("\n")
    more = [f"… and {len(lines) - _LINES:,} more lines"] if len(lines) > _LINES else []
    return "\n".join([*map(_line, lines[:_LINES]), *more])


def _line(text: str) -> str:
    if len(text) > _LINE:
        text = f"{text[: 2 * _LINE // 3]} … {text[-_LINE // 3 :]}"
    return (
        text
        if text.isprintable()
        else "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
    )
