"""The one error a user can cause."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: the message names the file, key or tensor, what was expected and what was found."""


class WriteError(InputError, OSError):
    """A file that can't be written. An OSError as well, for those who can go on without the file."""


class Cancelled(Exception):
    """Long work stopped on request; what was finished before is kept."""
