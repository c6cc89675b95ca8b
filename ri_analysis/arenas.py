"""Freed memory that does not pile up: glibc's allocator holds on to what each of its arenas once had."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

ARENAS = 2
_M_ARENA_MAX = -8  # malloc.h


def give_back() -> None:
    """Free what is not reachable any more, and give the system back what the allocator holds on to."""
    gc.collect()
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def bound_arenas() -> None:
    """Have all threads started from now on share a few arenas; without effect where the C library is not glibc.

    By default there may be eight a core, and a server's threads come and go: each arena slowly grows to the most that
    any thread ever needed at once, fragments included, long after the last of it was freed.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)
