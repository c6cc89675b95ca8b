"""What was used last, held in memory up to a number of bytes."""

from __future__ import annotations

from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

from cachetools import LRUCache

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """The values used last, up to `budget` bytes together. Several threads may share it."""

    def __init__(self, budget: int) -> None:
        self._lock = Lock()
        self._held: LRUCache[Key, tuple[Value, int]] = LRUCache(budget, getsizeof=lambda entry: entry[1])

    def get(self, key: Key) -> Value | None:
        """Return the value under `key`, None when there is none."""
        with self._lock:
            entry = self._held.get(key)
        return None if entry is None else entry[0]

    def put(self, key: Key, value: Value, size: int) -> None:
        """Hold a value of `size` bytes, unless it alone exceeds the budget."""
        with self._lock:
            if size <= self._held.maxsize:
                self._held[key] = (value, size)
