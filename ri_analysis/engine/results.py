"""Results that are kept as answers: tables and whatever an analysis finds, as arrays and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ri_analysis.engine.sealing import Arrays
from ri_analysis.engine.store import Record, Store
from ri_analysis.errors import one_message
from ri_analysis.files import digest
from ri_analysis.json_text import from_json

Result = TypeVar("Result")
Bytes = npt.NDArray[np.uint8]

VERSION = "1"  # raise when what all results share changes its meaning: intervals, distances, how tables are kept


@dataclass(frozen=True)
class Kept(Generic[Result]):
    """How results of one kind are kept: as arrays, by `pack`, which `unpack` reads.

    `version` is raised when the same question means another result, or the result is packed otherwise.
    """

    name: str
    version: str
    pack: Callable[[Result], Arrays]
    unpack: Callable[[Arrays], Result]

    def key(self, *parts: str) -> str:
        """Return the name of a result that depends on `parts`, and on nothing else that can change."""
        return digest("result", VERSION, self.name, self.version, *parts)

    def find(self, store: Store, key: str) -> Result | None:
        """Return the result kept under `key`, None where there is none. Raises InputError for one of another kind."""
        arrays = store.get(key)
        if arrays is None:
            return None
        with one_message(store.source(key), f"a result of the kind {self.name}"):
            return self.unpack(arrays)

    def keep(self, store: Store, key: str, result: Result, record: Record) -> Result:
        """Keep a result; return it as `find` does, so that what was just measured looks like what will be found."""
        arrays = self.pack(result)
        store.put(key, arrays, record)
        return self.unpack(arrays)


def kept_table(name: str, version: str = "1") -> Kept[pd.DataFrame]:
    """Return how a result that is a table is kept."""
    return Kept(name, version, lambda table: {"table": packed_table(table)}, lambda found: table_of(found["table"]))


def packed_table(table: pd.DataFrame) -> Bytes:
    """Return a table as bytes, with the types of its columns and every digit."""
    found = pa.Table.from_pandas(table, preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, found.schema) as stream:
        stream.write_table(found)
    return np.frombuffer(sink.getvalue(), np.uint8)


def table_of(packed: npt.NDArray[np.generic]) -> pd.DataFrame:
    """Return the table that `packed_table` made bytes of."""
    with pa.ipc.open_stream(pa.py_buffer(packed.tobytes())) as stream:
        found: pd.DataFrame = stream.read_pandas()
    return found


def packed_text(value: object) -> Bytes:
    """Return plain values as JSON bytes."""
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def text_of(packed: npt.NDArray[np.generic]) -> Any:
    """Return the plain values that `packed_text` made bytes of."""
    return from_json(packed.tobytes())
