"""The one error a user can cause."""

from __future__ import annotations

from collections.abc import Sequence


class InputError(ValueError):
    """Bad input: the message names the file, key or tensor, what was expected and what was found."""


class Cancelled(Exception):
    """Long work stopped on request; what was finished before is kept."""


def listing(names: Sequence[str], most: int) -> str:
    """Return the first of some names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
