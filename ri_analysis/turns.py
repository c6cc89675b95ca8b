"""Threads that want the same: one after the other, the shortest first, and equal work only once."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from itertools import count

_LOOK = 0.2  # seconds after which one who waits for equal work looks whether to go on
_PASSED = 0.02  # seconds by which one piece of work lets another pass before it for each of its parts


class Turns:
    """A lock that goes to the shortest work among what waits for it; a thread that holds it may take it again.

    Long work is let pass now and then: each part of it counts as if it had come by a moment later.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int]] = []
        self._numbers = count()
        self._holder: int | None = None
        self._depth = 0

    @contextmanager
    def taken(self, parts: int) -> Iterator[None]:
        """Hold the lock, for work of so many parts."""
        me, place = threading.get_ident(), (time.monotonic() + _PASSED * parts, next(self._numbers))
        with self._changed:
            if self._holder != me:
                heapq.heappush(self._waiting, place)
                try:
                    self._changed.wait_for(lambda: self._holder is None and self._waiting[0] == place)
                    self._holder = me
                finally:
                    self._waiting.remove(place)
                    heapq.heapify(self._waiting)
            self._depth += 1
        try:
            yield
        finally:
            with self._changed:
                self._depth -= 1
                if not self._depth:
                    self._holder = None
                    self._changed.notify_all()


_under_way: set[Hashable] = set()
_ended = threading.Condition()


@contextmanager
def alone(key: Hashable, alive: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold what equal work in this process waits for, which then finds its answer kept.

    `alive` is called now and then while one waits, and may raise. Nothing else may be waited for within.
    """
    while True:
        with _ended:
            if key not in _under_way:
                _under_way.add(key)
                break
            _ended.wait(_LOOK)
        alive()
    try:
        yield
    finally:
        with _ended:
            _under_way.remove(key)
            _ended.notify_all()
