"""One thread where more would only wait for each other, and be billed for it."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped,unused-ignore]


class _OneThread:
    """While any thread is inside, NumPy's and SciPy's linear algebra, and torch in that thread, use one thread each.

    Re-entrant. NumPy's linear algebra has one count for the whole process, so the last to leave restores it; OpenMP and
    MKL, which torch computes with, have one for every thread. MKL follows OpenMP only until torch is told a count.
    Results depend on the count in their last bits (an eigendecomposition by MKL does), so it is also what makes a merge
    the same under any number of threads.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, list[int]()
        self._own = threading.local()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._before = [pool.get_num_threads() for pool in self._blas]
                _set(self._blas, [1] * len(self._before))
        stack = self._own.__dict__.setdefault("stack", [])
        stack.append(([pool.get_num_threads() for pool in self._openmp], self._mkl(1)))
        _set(self._openmp, [1] * len(self._openmp))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        openmp, mkl = self._own.stack.pop()
        _set(self._openmp, openmp)
        self._mkl(mkl)
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                _set(self._blas, self._before)

    @cached_property
    def _blas(self) -> list[Any]:
        return list(_pools().select(internal_api="openblas").lib_controllers)

    @cached_property
    def _openmp(self) -> list[Any]:
        return list(_pools().select(user_api="openmp").lib_controllers)

    @cached_property
    def _mkl(self) -> Callable[[int], int]:
        """Set MKL's count for the calling thread (0: OpenMP's), return the one before; idle where torch has no MKL."""
        import torch

        library = Path(torch.__file__).with_name("lib") / "libtorch_cpu.so"
        try:
            # MKL lies inside torch's library, where threadpoolctl does not look.
            found: Callable[[int], int] = ctypes.CDLL(str(library)).MKL_Set_Num_Threads_Local
            return found
        except (OSError, AttributeError):
            return lambda count: 0


def _pools() -> Any:
    """Return the thread pools of the libraries loaded; those the limits are for are loaded first."""
    import scipy.linalg  # noqa: F401
    import torch  # noqa: F401

    return ThreadpoolController()


def _set(pools: Sequence[Any], counts: Sequence[int]) -> None:
    for pool, count in zip(pools, counts, strict=True):
        # The library lets only the thread that first set a limit change it; here any thread may leave last.
        if hasattr(pool, "clear_controlling_thread"):
            pool.clear_controlling_thread(force=True)
        pool.set_num_threads(count)


one_thread = _OneThread()
