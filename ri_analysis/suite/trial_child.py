"""Reads through files in a process of its own, which may die of them. Run by its path; imports nothing of ours.

The arguments are the module search path as JSON, and the memory it may take. Each line on stdin is [kind, path, CPU
seconds]; the answer is a line of JSON: null, or what is wrong with the file.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable

try:
    import resource
except ImportError:  # Windows: the parent's clock is the only limit
    resource = None  # type: ignore[assignment]


def arrow(path: str) -> None:
    """Read a stream of record batches as `suite.arrow` does."""
    import pyarrow as pa

    with pa.memory_map(path) as source:
        table = pa.ipc.open_stream(source).read_all()
        table.validate(full=True)
        _look_into(table)


def parquet(path: str) -> None:
    """Read a parquet file's row groups, one after the other."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        table.validate(full=True)
        _look_into(table)


def answers(path: str) -> None:
    """Read the answers that come with a suite as `engine.shipped` does, and the tables within them."""
    from pyarrow import feather

    table = feather.read_table(path, memory_map=False)
    table.validate(full=True)
    _look_into(table)
    for value in table["value"].to_pylist():
        for array in _arrays(value[20:] if value.startswith(b"RI-") else value):
            _look_into_stream(array.tobytes())


def _arrays(data: bytes):  # type: ignore[no-untyped-def]
    """Return the arrays of an answer as `engine.sealing` reads them, none where there are none."""
    import io

    import numpy as np
    from safetensors.numpy import load

    try:
        if not data.startswith(b"PK"):
            return load(data).values()
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return [file[name] for name in file.files]
    except MemoryError:
        raise
    except Exception:  # the reader finds the same, and says so
        return []


def _look_into_stream(data: bytes) -> None:
    """Read a table that was packed as `engine.results` does; anything else is left alone."""
    import pyarrow as pa

    try:
        table = pa.ipc.open_stream(pa.py_buffer(data)).read_all()
    except MemoryError:
        raise
    except Exception:  # no table: an array of numbers, or what the reader refuses, too
        return
    table.validate(full=True)
    _look_into(table)


def matlab(path: str) -> None:
    """Read all variables of a MATLAB file."""
    from scipy.io import loadmat

    loadmat(path, squeeze_me=True)


def _look_into(table) -> None:  # type: ignore[no-untyped-def]
    """Make Python objects of every value, as for an image or a label."""
    str(table.schema.metadata)
    for column in table.columns:
        for chunk in column.chunks:
            for index in range(len(chunk)):
                chunk[index].as_py()


_KINDS: dict[str, Callable[[str], None]] = {"arrow": arrow, "parquet": parquet, "answers": answers, "matlab": matlab}


def _limit_memory(most: int) -> None:
    # What the process writes to counts, a map of a large file does not. macOS knows this limit and does not keep it.
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time(seconds: int) -> None:
    """Die by oneself, should the parent be gone."""
    if resource is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds, hard))


def _end_when_idle() -> threading.Timer:
    timer = threading.Timer(60, os._exit, (0,))
    timer.daemon = True
    timer.start()
    return timer


def main() -> None:
    """Answer until stdin is closed, or nothing was asked for a minute."""
    sys.path[:] = json.loads(sys.argv[1])
    _limit_memory(int(sys.argv[2]))
    idle = _end_when_idle()
    for line in sys.stdin:
        idle.cancel()
        kind, path, seconds = json.loads(line)
        _limit_time(seconds)
        try:
            _KINDS[kind](path)
            answer = None
        except Exception as error:  # a damaged file can fail in any way
            answer = " ".join(f"{type(error).__name__}: {error}"[:300].split())
        print(json.dumps(answer), flush=True)
        idle = _end_when_idle()


if __name__ == "__main__":
    main()
