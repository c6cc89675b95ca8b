"""Write safetensors atomically, one tensor at a time."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from ri_analysis.errors import InputError, one_message
from ri_analysis.files import atomic_path

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_safetensors(
    path: Path,
    layout: Mapping[str, tuple[tuple[int, ...], torch.dtype]],
    tensors: Iterable[tuple[str, torch.Tensor]],
    metadata: Mapping[str, str],
) -> None:
    """Write `tensors` to `path` as they come, so that only one is in memory; the file appears when it is whole.

    `layout` gives each tensor's shape and the data type it is stored in; `tensors` must come in the same order.
    The header's keys keep that order and nothing of the machine or the time enters, so that equal input gives equal
    bytes. Raises InputError for values that are not finite as stored, ValueError when a tensor does not fit the layout.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    for name, (shape, dtype) in layout.items():
        end = offset + _size(shape, dtype)
        header[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    expected = iter(layout.items())
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for name, tensor in tensors:
            wanted, (shape, dtype) = next(expected, (None, ((), torch.float32)))
            if name != wanted or tuple(tensor.shape) != shape:
                raise ValueError(f"expected {wanted} {shape} next, found {name} {tuple(tensor.shape)}")
            flat = tensor.detach().to("cpu", dtype).contiguous().reshape(-1)
            # A finite sum means finite values and is far cheaper than looking at each; the converse need not hold.
            if dtype.is_floating_point and not (torch.isfinite(flat.sum()) or torch.isfinite(flat).all()):
                bad = int((~torch.isfinite(flat)).sum())
                raise InputError(
                    f"{path}: tensor {name!r} must be finite as {_NAMES[dtype]}, found {bad} NaN or infinite of "
                    f"{flat.numel()} values; nothing was written"
                )
            stream.write(flat.view(torch.uint8).numpy().data)
        if next(expected, None) is not None:
            raise ValueError("fewer tensors than the layout promises")


def _size(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    count = 1
    for side in shape:
        count *= side
    return count * dtype.itemsize


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of the safetensors file at `path`. Raises InputError."""
    with one_message(path, "a whole safetensors file"), safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})
