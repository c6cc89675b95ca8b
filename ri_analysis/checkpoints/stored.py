"""Tensors of a file, each read when it is asked for.

Copied, not mapped: where somebody writes over a mapped file whose tensors are in use, the system ends the process.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch

from ri_analysis import limits
from ri_analysis.checkpoints.lazy import LazyTensors
from ri_analysis.documents import opened, parse_json, regular
from ri_analysis.errors import ChangedFile, InputError, one_message
from ri_analysis.stamps import Stamp, require_unchanged

DTYPES: Mapping[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in (
        *("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"),
        *("uint16", "uint32", "uint64", "complex64", "complex128"),
        *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
    )
}
_SAFETENSORS = {
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{"BF16": "bfloat16", "BOOL": "bool", "C64": "complex64", "F8_E4M3": "float8_e4m3fn"},
    **{f"F8_{kind}": f"float8_{kind.lower()}" for kind in ("E5M2", "E4M3FNUZ", "E5M2FNUZ")},
}
_EXPECTED = "a whole safetensors file"


class Stored(NamedTuple):
    """Where a tensor lies: the byte of its first element, its element type (torch's name), shape, and strides."""

    start: int
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many elements lie from the first to the last one."""
        if 0 in self.shape:
            return 0
        return sum((side - 1) * step for side, step in zip(self.shape, self.stride, strict=True)) + 1


class StoredTensors(LazyTensors[Stored]):
    """The tensors of a file by name.

    `stamp` is the file's from before anything was read of it. A tensor raises ChangedFile once the file has changed,
    and InputError where it is of a type that is not read.
    """

    def __init__(self, path: Path, stamp: Stamp, stored: Mapping[str, Stored]) -> None:
        super().__init__(stored)
        self._path, self._stamp = path, stamp
        limits.require("name-characters", max(map(len, stored), default=0), path)
        require_unchanged(path, stamp)

    def __getitem__(self, key: str) -> torch.Tensor:
        stored, dtype = self._entries[key], self._dtype(key)
        with one_message(self._path, f"the tensor {key!r}"):
            found = np.empty(stored.elements * dtype.itemsize, np.uint8)
            with self._at(stored.start) as fill:
                fill(found)
            data: Any = torch.from_numpy(found).untyped_storage()
            return torch.empty(0, dtype=dtype).set_(data, 0, stored.shape, stored.stride)

    def outline(self, key: str) -> torch.Tensor:
        """See LazyTensors."""
        stored, dtype = self._entries[key], self._dtype(key)
        with one_message(self._path, f"the tensor {key!r}"):
            return torch.empty_strided(stored.shape, stored.stride, dtype=dtype, device="meta")

    def _dtype(self, key: str) -> torch.dtype:
        name = self._entries[key].dtype
        if name not in DTYPES:
            raise InputError(f"{self._path}: tensor {key!r} must be of a plain type, found {name!r}")
        return DTYPES[name]

    def is_in_order(self, key: str) -> bool:
        """See LazyTensors."""
        stored = self._entries[key]
        return stored.stride == _in_order(stored.shape)

    def pieces(self, key: str, size: int) -> Iterator[torch.Tensor]:
        """See LazyTensors; no more than a piece is held of a tensor that lies in the file in order."""
        if not self.is_in_order(key):
            yield from super().pieces(key, size)
            return
        stored, dtype = self._entries[key], self._dtype(key)
        elements = stored.elements
        buffer = torch.empty(min(size, elements), dtype=dtype)
        raw = buffer.view(torch.uint8).numpy()
        with self._at(stored.start) as fill:
            for start in range(0, max(1, elements), size):  # one piece of nothing, as torch.split
                count = min(size, elements - start)
                fill(raw[: count * dtype.itemsize])
                yield buffer[:count]

    @contextmanager
    def _at(self, start: int) -> Iterator[Callable[[npt.NDArray[np.uint8]], None]]:
        """Return what fills an array with the file's next bytes, from byte `start` on."""
        require_unchanged(self._path, self._stamp)
        with one_message(self._path, "a checkpoint"), regular(self._path, "a checkpoint") as stream:
            require_unchanged(self._path, self._stamp, stream.fileno())
            stream.seek(start)
            yield partial(self._fill, cast(io.BufferedReader, stream))
        require_unchanged(self._path, self._stamp)

    def _fill(self, stream: io.BufferedReader, array: npt.NDArray[np.uint8]) -> None:
        if stream.readinto(array.data) < len(array):
            raise ChangedFile(f"{self._path}: cut off since it was opened; open the suite again")


def _in_order(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a tensor whose elements lie one after the other."""
    return tuple(prod(shape[1 + side :]) for side in range(len(shape)))


def read_safetensors(path: Path, stamp: Stamp | None = None) -> StoredTensors:
    """Open a safetensors file: eight bytes, the length of a JSON header, the header, and the tensors' data.

    Raises InputError where the header is none, or where the tensors' data does not fill the file without gaps.
    """
    with opened(path, _EXPECTED) as stream:
        stamp = stamp or Stamp.settled(path)
        length = int.from_bytes(stream.read(8), "little")
        limits.require("structure-bytes", length, path)
        if 8 + length > stamp.size:
            raise InputError(
                f"{path}: expected {_EXPECTED}, found a header of {length} bytes in a file of {stamp.size}; "
                "is it truncated?"
            )
        header = parse_json(stream.read(length).decode("utf-8"), path, _EXPECTED)
        stored = _places(header, 8 + length, stamp.size, path)
    return StoredTensors(path, stamp, {name: stored[name] for name in sorted(stored)})


def _places(header: object, start: int, size: int, path: Path) -> dict[str, Stored]:
    """Return where each tensor of a safetensors file of `size` bytes lies, whose data begins at byte `start`."""
    if not isinstance(header, dict):
        raise InputError(f"{path}: expected {_EXPECTED}, found a header that is no object")
    entries = {name: _entry(entry, name, path) for name, entry in header.items() if name != "__metadata__"}
    found, end = {}, 0
    for name, (dtype, shape, begin, stop) in sorted(entries.items(), key=lambda item: item[1][2:]):
        needed = prod(shape) * DTYPES[dtype].itemsize if dtype in DTYPES else max(0, stop - begin)
        if begin != end or stop - begin != needed:
            raise InputError(
                f"{path}: expected the {needed} bytes of tensor {name!r} from byte {end} of the data on, "
                f"found bytes {begin} to {stop}"
            )
        found[name] = Stored(start + begin, dtype, shape, _in_order(shape))
        end = stop
    if start + end != size:
        truncated = "; is it truncated?" if size < start + end else ""
        raise InputError(f"{path}: expected {_EXPECTED} of {start + end} bytes, found {size}{truncated}")
    return found


def _entry(entry: object, name: str, path: Path) -> tuple[str, tuple[int, ...], int, int]:
    """Return a tensor's element type, its shape, the first byte of its data and the one after the last."""
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, stop]}:
            if all(type(number) is int and number >= 0 for number in (*shape, begin, stop)):
                return _SAFETENSORS.get(dtype, dtype), tuple(shape), begin, stop
    raise InputError(f"{path}: expected type, shape and place of tensor {name!r} in the header, found others")
