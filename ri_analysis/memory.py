"""How much memory the program takes: a budget declared for all of it, and what is held within that."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakSet

from ri_analysis.errors import InputError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:  # importing torch takes a second
    import torch

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

VARIABLE = "RI_ANALYSIS_MEMORY"
LEAST = 10**9  # bytes; the program and its libraries alone take more than half of that
_STACKS = 1 << 29  # bytes of address space for the stacks of threads to come
_UNITS = {f"{letter}{binary}B": base**power for power, letter in enumerate("MGT", 2)
          for binary, base in (("", 1000), ("i", 1024))}  # fmt: skip
_SIZE = re.compile(r"(\d{1,6}(?:\.\d{1,6})?) ?([MGT]i?B)")
_FULL = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "failed to map segment",  # of a library that is loaded
)

# --- the budget -------------------------------------------------------------------------------------------


def budget() -> int | None:
    """Return the bytes that this process may take, None where none were declared. Raises InputError for a wrong size.

    What maps a file into memory does not count: the system takes that back when it needs it.
    """
    text = os.environ.get(VARIABLE, "")
    return size(text, VARIABLE) if text else None


@lru_cache(maxsize=16)
def size(text: str, source: str) -> int:
    """Return the bytes of a size such as `8GB` or `512 MiB`. Raises InputError naming `source`."""
    found = _SIZE.fullmatch(text)
    number = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if number < LEAST:
        raise InputError(f"{source}: expected a size of at least {in_words(LEAST)}, such as 8GB, found {text[:80]!r}")
    return number


def in_words(count: int) -> str:
    """Return a number of bytes as a size that `size` reads."""
    return f"{count / 10**9:.4g}GB" if count >= 10**9 else f"{count / 10**6:.4g}MB"


def declare(count: int) -> None:
    """Declare the budget of this process, and of those that it starts."""
    os.environ[VARIABLE] = f"{count // 10**6}MB"


def fitting(wanted: int, each: int = 1) -> int:
    """Return how many of the things wanted, of `each` bytes, a quarter of the budget has room for: at least one."""
    found = budget()
    return wanted if found is None else max(1, min(wanted, found // 4 // each))


def bytes_held(module: torch.nn.Module, forward: Callable[[], torch.Tensor]) -> int:
    """Return the bytes that a forward pass holds for the way back, without the parameters of `module` themselves."""
    from torch.autograd.graph import saved_tensors_hooks

    held = dict[int, int]()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        output = forward()
    for weight in module.parameters():
        held.pop(weight.untyped_storage().data_ptr(), None)
    del output
    return sum(held.values())


def require_for(jobs: int) -> None:
    """Raise InputError where the budget is too small for so many worker processes."""
    found = budget()
    if found is not None and found // jobs < LEAST:
        raise InputError(
            f"--jobs {jobs}: expected at most {found // LEAST} within a budget of {in_words(found)} (--memory): "
            f"each takes at least {in_words(LEAST)}"
        )


def divide(jobs: int) -> None:
    """Declare, in one of `jobs` worker processes, its part of the budget that it was started with; keep that."""
    found = budget()
    if found is not None:
        declare(found // jobs)
        enforce()


# --- keeping it -------------------------------------------------------------------------------------------


def enforce() -> None:
    """Have what would exceed the budget fail, with a message, before the system ends the process without one.

    Only on Linux, and without a GPU, whose driver reserves far more than it takes.
    """
    found = budget()
    if found is None or resource is None or not Path("/proc/self/status").is_file():
        return
    import torch

    if not torch.cuda.is_available():
        status = dict(re.findall(r"(VmData|RssAnon):\s+(\d+) kB", Path("/proc/self/status").read_text("ascii")))
        _limit(found + 1024 * (int(status["VmData"]) - int(status["RssAnon"])) + _STACKS)


def _limit(count: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (count if hard == resource.RLIM_INFINITY else min(count, hard), hard))


@contextmanager
def explained() -> Iterator[None]:
    """Raise InputError, which names the budget, where memory runs out within."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError, ImportError) as error:
        if isinstance(error, InputError) or not is_full(error):
            raise
        found = budget()
        if found is None:
            raise InputError(
                "this machine's memory is full: close other programs, or set --memory SIZE "
                f"({VARIABLE}) to the memory there is, such as 8GB, so that less is held"
            ) from error
        raise InputError(
            f"--memory {in_words(found)} ({VARIABLE}): expected all work to fit, found that it takes more; allow more, "
            "or measure on fewer images, run fewer jobs, or give RI a smaller batch"
        ) from error


def is_full(error: Exception) -> bool:
    """Whether an error says that memory has run out."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in _FULL)


# --- what is held -----------------------------------------------------------------------------------------

_lock = RLock()  # of everything that is held
_all: WeakSet[Recent[Any, Any]] = WeakSet()


class Recent(Generic[Key, Value]):
    """The values used last, of `budget` together, and no more than `most`. Several threads may share it.

    `measured` gives the size of a value that is put without one. All of them together hold at most a quarter of the
    process's budget, where one is declared.
    """

    def __init__(self, budget: int, most: int | None = None, measured: Callable[[Value], int] = lambda _: 1) -> None:
        self._budget, self._least, self._measured = budget, budget // most if most else 0, measured
        self._held: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._size = self._shares = 0  # bytes that are held, and those with the least that each counts
        with _lock:
            _all.add(self)

    def __len__(self) -> int:
        return len(self._held)

    @property
    def budget(self) -> int:
        """The most that a value may take to be held."""
        return min(self._budget, _together() or self._budget)

    def get(self, key: Key) -> Value | None:
        """Return the value under `key`, None when there is none."""
        with _lock:
            if key not in self._held:
                return None
            self._held.move_to_end(key)
            return self._held[key][0]

    def put(self, key: Key, value: Value, size: int | None = None) -> None:
        """Hold a value of `size`, unless it alone exceeds the budget; each takes a share of `most` at the least."""
        size = self._measured(value) if size is None else size
        with _lock:
            if key in self._held:
                self._drop(key)
            if size > self.budget:
                return
            self._held[key] = value, size
            self._size, self._shares = self._size + size, self._shares + max(size, self._least)
            while self._shares > self._budget:
                self._drop(next(iter(self._held)))
            while (most := _together()) is not None and sum(each._size for each in _all) > most:
                fullest = max(_all, key=lambda each: each._size)
                fullest._drop(next(iter(fullest._held)))

    def _drop(self, key: Key) -> None:
        _, size = self._held.pop(key)
        self._size, self._shares = self._size - size, self._shares - max(size, self._least)


def bytes_of(value: object) -> int:
    """Return about how many bytes an answer holds: its arrays and tables, wherever they lie in it, each once."""
    found: dict[int, int] = {}
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if id(one) in found:
            continue
        found[id(one)] = 0
        if isinstance(size := getattr(one, "nbytes", None), int):
            found[id(one)] = size
        elif callable(usage := getattr(one, "memory_usage", None)):  # a table's
            found[id(one)] = int(usage(deep=True).sum())
        elif isinstance(one, Mapping):
            waiting += one.values()
        elif isinstance(one, list | tuple | set | frozenset):
            waiting += one
        elif is_dataclass(one) and not isinstance(one, type):
            waiting += vars(one).values()
    return sum(found.values())


def _together() -> int | None:
    """Return the bytes that all values held in this process may take together."""
    found = budget()
    return None if found is None else found // 4
