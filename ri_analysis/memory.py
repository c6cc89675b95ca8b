"""What was used last, held in memory up to a number of bytes, or of values."""

from __future__ import annotations

from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

from cachetools import LRUCache

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """The values used last, of `budget` together, and no more than `most`. Several threads may share it."""

    def __init__(self, budget: int, most: int | None = None) -> None:
        self._lock, self._least = Lock(), budget // most if most else 0
        self._held: LRUCache[Key, tuple[Value, int]] = LRUCache(budget, getsizeof=lambda entry: entry[1])

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: Key) -> Value | None:
        """Return the value under `key`, None when there is none."""
        with self._lock:
            entry = self._held.get(key)
        return None if entry is None else entry[0]

    def put(self, key: Key, value: Value, size: int = 1) -> None:
        """Hold a value of `size`, unless it alone exceeds the budget; each takes a share of `most` at the least."""
        with self._lock:
            self._held.pop(key, None)
            if size <= self._held.maxsize:
                self._held[key] = (value, max(size, self._least))
