"""Answers that come with a suite: measured before, read-only, and asked after a workspace's own."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import torch
from pyarrow import feather

from ri_analysis import __version__
from ri_analysis.allowed import require_file
from ri_analysis.engine.sealing import Arrays, sealed, unsealed
from ri_analysis.errors import InputError, one_message
from ri_analysis.files import atomic_path
from ri_analysis.json_text import from_json
from ri_analysis.suite.trial import try_reading

FILE = "answers.arrow"  # beside the suite file
_MADE = b"made"
_MARKS = re.compile(r"\((R|TM|r|tm)\)| CPU| Processor")
_EXPECTED = "results that come with a suite"
_SCHEMA = pa.schema({"key": pa.string(), "count": pa.int64(), "value": pa.large_binary()})
_LONGEST = 200  # characters of a name in Made
_WHOLE = -1  # the count of an answer that is not about a subset of images


@dataclass(frozen=True)
class Made:
    """How shipped answers came about: the day (ISO), by which version, on which machine."""

    day: str
    version: str
    torch: str
    processor: str
    cores: int
    system: str

    @classmethod
    def here(cls) -> Made:
        """Return what is true of answers that are measured now, here; it names no host, path or user."""
        system = f"{platform.system()} {platform.machine()}"
        day = datetime.now(UTC).date().isoformat()
        return cls(day, __version__, torch.__version__, _processor(), os.cpu_count() or 1, system)

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Made:
        """Return what a file says. Raises what Python does for anything else."""
        texts = {name: str(found[name])[:_LONGEST] for name in ("day", "version", "torch", "processor", "system")}
        return cls(**texts | {"day": date.fromisoformat(texts["day"]).isoformat()}, cores=int(found["cores"]))

    @property
    def says(self) -> str:
        """In words: the day, the version, and the machine."""
        day, processor = date.fromisoformat(self.day), _MARKS.sub("", self.processor)
        return f"{day.day} {day:%b %Y}, ri-analysis {self.version}, {self.cores}-core {processor}"


class Shippable(NamedTuple):
    """An answer that is to be shipped; `images` counts those of a subset, None for one about no subset."""

    key: str
    images: int | None
    arrays: Arrays


class Shipped:
    """The answers in a file. One that is not there, or damaged, holds none; `problem` then says what is wrong with it.

    It is an Arrow file whose values stand in one column, compressed together: what several answers share costs nothing.
    """

    def __init__(self, path: Path, memory: Path | None = None) -> None:
        self.path, self.problem = path, ""
        self._memory = memory

    @cached_property
    def _held(self) -> tuple[pa.Table, Made] | None:
        """The file's table, which a child process has read before, and how it came about."""
        try:
            with one_message(self.path, _EXPECTED):
                if not self._exists():
                    return None
                try_reading(self.path, "answers", _EXPECTED, self._memory)
                table = feather.read_table(self.path, memory_map=False)
                if table.schema.remove_metadata() != _SCHEMA:
                    raise InputError(f"{self.path}: expected {_EXPECTED}, found other columns")
                table.validate(full=True)
                return table, Made.of(from_json(table.schema.metadata[_MADE]))
        except InputError as error:
            self.problem = f"can't be read ({error}); the results that come with the suite are measured again"
            return None

    def _exists(self) -> bool:
        try:
            require_file(self.path)
        except FileNotFoundError:
            return False
        return True

    @property
    def _table(self) -> pa.Table | None:
        return None if self._held is None else self._held[0]

    @cached_property
    def _places(self) -> dict[str, dict[int, int]]:
        """The row of each answer, by its key and count."""
        if self._table is None:
            return {}
        found: dict[str, dict[int, int]] = {}
        keys, counts = (self._table[name].to_pylist() for name in ("key", "count"))
        for row, (key, count) in enumerate(zip(keys, counts, strict=True)):
            found.setdefault(key, {})[count] = row
        return found

    @property
    def made(self) -> Made | None:
        """How they came about, None where there are none."""
        return None if self._held is None else self._held[1]

    def keys(self) -> list[tuple[str, int | None]]:
        """Return every answer's key and count."""
        return [
            (key, None if count == _WHOLE else count)
            for key, counts in self._places.items()
            for count in sorted(counts)
        ]

    def counts(self, key: str) -> list[int]:
        """Return of how many images there are answers under `key`."""
        return [count for count in self._places.get(key, {}) if count != _WHOLE]

    def get(self, key: str, count: int | None = None) -> Arrays | None:
        """Return the answer under `key`, about a subset of `count` images where that is given; None for none."""
        row = self._places.get(key, {}).get(_WHOLE if count is None else count)
        if row is None or self._table is None:
            return None
        found = unsealed(self._table["value"][row].as_py(), _named(key, count))
        if found is None:
            self.problem = "holds damaged results; they are measured again"
        return found


def write_shipped(path: Path, answers: Sequence[Shippable], made: Made) -> None:
    """Write answers to a file that Shipped reads, atomically, in the order of their keys."""
    ordered = sorted(answers, key=lambda answer: (answer.key, answer.images or 0))
    columns = {
        "key": [answer.key for answer in ordered],
        "count": [_WHOLE if answer.images is None else answer.images for answer in ordered],
        "value": [sealed(answer.arrays, _named(answer.key, answer.images)) for answer in ordered],
    }
    table = pa.table(columns, _SCHEMA).replace_schema_metadata({_MADE: json.dumps(asdict(made))})
    with atomic_path(path) as temporary:
        feather.write_feather(table, str(temporary), "zstd", 22, chunksize=max(1, len(ordered)))


def _named(key: str, count: int | None) -> str:
    return key if count is None else f"{key}:{count}"


def _processor() -> str:
    """Return the processor's model, as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
