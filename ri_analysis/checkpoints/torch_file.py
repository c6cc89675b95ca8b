"""Torch files, zip archives and the older sequential format: tensors that are read when asked for; nothing is run."""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from ri_analysis import limits
from ri_analysis.archives import require_few_entries
from ri_analysis.checkpoints.stored import DTYPES, Stored, StoredTensors
from ri_analysis.checkpoints.structure import Flat, flatten
from ri_analysis.checkpoints.unpickle import Found, TensorNote, unpickle
from ri_analysis.errors import InputError, in_short
from ri_analysis.stamps import Stamp

ZIP_MAGIC = b"PK\x03\x04"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, …, lengths of name and extra field


class Extent(NamedTuple):
    """The bytes of one storage in the file."""

    start: int
    length: int


def read_torch(path: Path, stamp: Stamp) -> tuple[StoredTensors, Flat, tuple[str, ...]]:
    """Return the tensors of the torch file at `path`, the rest of its structure, and functions it asks to call.

    Those functions are other libraries' and not known to make a plain value; nothing was called.

    `stamp` is the file's from before anything was read of it. Raises InputError for a truncated file, sizes that can't
    be, and a pickle that would run code.
    """
    with path.open("rb") as stream:
        is_zip = stream.read(4) == ZIP_MAGIC
    found = Found()
    tree, records = _read_zip(path, found) if is_zip else _read_legacy(path, found)
    flat = flatten(tree, str(path))
    stored = {name: _stored(path, name, note, records) for name, note in flat.tensors.items()}
    return StoredTensors(path, stamp, stored), flat, tuple(sorted(found.asked))


def verify_records(path: Path) -> None:
    """Compare every record of a torch zip with its checksum. Raises InputError naming the first that differs."""
    with path.open("rb") as stream, _archive(path, stream) as archive:
        for entry in archive.infolist():
            if entry.CRC == 0:  # torch can be told not to write checksums
                continue
            start, left, found = _data_start(path, stream, entry), entry.file_size, 0
            stream.seek(start)
            while left > 0 and (part := stream.read(min(left, 1 << 22))):
                found, left = zlib.crc32(part, found), left - len(part)
            if found != entry.CRC:
                raise InputError(
                    f"{path}: record {entry.filename!r} is damaged: its checksum must be {entry.CRC:08x}, "
                    f"found {found:08x}; fetch the file again"
                )


def _archive(path: Path, stream: IO[bytes]) -> zipfile.ZipFile:
    try:
        require_few_entries(path, stream)
        archive = zipfile.ZipFile(stream)
    except InputError:
        raise
    except Exception as error:  # a damaged archive can fail in any way
        raise InputError(
            f"{path}: expected a whole torch checkpoint, found {in_short(error)} (is it truncated?)"
        ) from None
    size = path.stat().st_size
    for entry in archive.infolist():
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise InputError(
                f"{path}: record {entry.filename!r} must be stored as it is, found {entry.compress_size} bytes that "
                f"unpack to {entry.file_size}"
            )
        if entry.header_offset < 0 or entry.header_offset + entry.file_size > size:
            raise InputError(
                f"{path}: record {entry.filename!r} declares {entry.file_size} bytes from byte {entry.header_offset} "
                f"on in a file of {size}; it is truncated or damaged"
            )
    return archive


def _data_start(path: Path, stream: IO[bytes], entry: zipfile.ZipInfo) -> int:
    stream.seek(entry.header_offset)
    header = stream.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or header[:4] != ZIP_MAGIC:
        raise InputError(f"{path}: expected the record {entry.filename!r} at byte {entry.header_offset}, found none")
    _, name, extra = _LOCAL_HEADER.unpack(header)
    return int(entry.header_offset + _LOCAL_HEADER.size + name + extra)


def _read_zip(path: Path, found: Found) -> tuple[Any, dict[str, Extent]]:
    with path.open("rb") as stream, _archive(path, stream) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        main = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(main) != 1:
            raise InputError(f"{path}: expected a torch checkpoint, found a zip archive without one 'data.pkl'")
        root = main[0].removesuffix("data.pkl")
        starts = {name: _data_start(path, stream, entry) for name, entry in entries.items()}
        order = entries.get(root + "byteorder")
        if order is not None and _bytes(stream, starts[order.filename], order.file_size) != b"little":
            raise InputError(f"{path}: expected little-endian data, found another byte order")
        limits.require("structure-bytes", entries[main[0]].file_size, path)
        data = _bytes(stream, starts[main[0]], entries[main[0]].file_size)
        tree = unpickle(io.BytesIO(data), str(path), found=found)
    prefix = root + "data/"
    records = {
        name.removeprefix(prefix): Extent(starts[name], entry.file_size)
        for name, entry in entries.items()
        if name.startswith(prefix)
    }
    return tree, records


def _bytes(stream: IO[bytes], start: int, length: int) -> bytes:
    stream.seek(start)
    return stream.read(length)


def _read_legacy(path: Path, found: Found) -> tuple[Any, dict[str, Extent]]:
    """Read the format before torch 1.6: five pickles, then the storages one after the other."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        if unpickle(stream, str(path)) != _LEGACY_MAGIC:
            raise InputError(
                f"{path}: expected a torch checkpoint, found a plain pickle; save it with torch.save or as safetensors"
            )
        version, system = unpickle(stream, str(path)), unpickle(stream, str(path))
        if version != _LEGACY_PROTOCOL or not isinstance(system, dict) or system.get("little_endian") is not True:
            raise InputError(f"{path}: expected torch's format {_LEGACY_PROTOCOL}, little-endian, found another")
        tree, keys = unpickle(stream, str(path), found=found), unpickle(stream, str(path))
        position = stream.tell()
        records = {}
        for key in map(_plain_key, keys if isinstance(keys, list) else ()):
            head = _bytes(stream, position, 8)
            if len(head) < 8:
                raise InputError(f"{path}: truncated: storage {key!r} is missing at byte {position} of {size}")
            dtype = DTYPES.get(found.storages[key].dtype) if key in found.storages else None
            if dtype is None:
                raise InputError(f"{path}: storage {key!r} must be of a plain type and belong to a tensor")
            length = int.from_bytes(head, "little", signed=True) * dtype.itemsize
            if length < 0 or position + 8 + length > size:
                raise InputError(f"{path}: truncated: storage {key!r} declares {length} bytes in a file of {size}")
            records[key] = Extent(position + 8, length)
            position += 8 + length
    return tree, records


def _plain_key(key: object) -> str:
    return str(key) if isinstance(key, str | int) else "?"


def _stored(path: Path, name: str, note: TensorNote, records: Mapping[str, Extent]) -> Stored:
    """Return where a tensor lies. Raises InputError where its data can't lie in its record."""
    dtype = DTYPES.get(note.storage.dtype)
    if dtype is None:
        raise InputError(f"{path}: tensor {name!r} must be of a plain type, found {note.storage.dtype!r}")
    if len(note.shape) != len(note.stride) or min((note.offset, *note.shape, *note.stride)) < 0:
        raise InputError(f"{path}: tensor {name!r} can't have shape {note.shape}, strides {note.stride}")
    record = records.get(note.storage.key, Extent(0, 0))
    found = Stored(record.start + note.offset * dtype.itemsize, note.storage.dtype, note.shape, note.stride)
    # An expanded tensor (stride 0) would claim memory that the file does not fill.
    elements = max(note.offset + found.elements, math.prod(note.shape)) if found.elements else 0
    needed = elements * dtype.itemsize
    if needed > record.length:
        raise InputError(
            f"{path}: tensor {name!r} of shape {note.shape} needs {needed} bytes, its record holds {record.length}"
        )
    return found if found.elements else found._replace(start=record.start)
