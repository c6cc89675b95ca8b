"""The one error a user can cause."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: the message names the file, key or tensor, what was expected and what was found."""


class Cancelled(Exception):
    """Long work stopped on request; what was finished before is kept."""
