"""The one error a user can cause."""

from __future__ import annotations

from collections.abc import Sequence


class InputError(ValueError):
    """Bad input: the message names the file, key or tensor, what was expected and what was found."""


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
