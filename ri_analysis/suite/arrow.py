"""Hugging Face data sets on disk: Arrow folders of `save_to_disk`, and parquet files as the hub mirrors them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ri_analysis import limits
from ri_analysis.documents import opened, read_object, regular
from ri_analysis.errors import InputError, one_message
from ri_analysis.files import digest
from ri_analysis.json_text import from_json
from ri_analysis.suite.file_stamps import FileStamps
from ri_analysis.suite.images import EncodedImages, ImageSet, Indices
from ri_analysis.suite.labels import read_labels
from ri_analysis.suite.preprocessing import Preprocessing
from ri_analysis.suite.trial import try_reading

_EXPECTED = "a whole Hugging Face data set"
_IMAGES = ("image", "img", "images", "jpg", "img_bytes")
_LABELS = ("label", "labels", "fine_label", "class", "cls", "coarse_label")
Fetch = Callable[[int], Any]
_NUMBER = re.compile(r"(\d+)")
_PART_OF = re.compile(r"-\d+-of-(\d+)(-[0-9a-f]+)?$")  # train-00000-of-00002, which may end in a hash
_SPARK = re.compile(r"part-\d{5}-.*")
_PARTS = ("", "part", "shard", "data", "chunk", "file")
_SPLITS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")


@dataclass(frozen=True)
class _Table:
    """A data set's files before anything was read of them, what it says of its columns, their names, how many rows.

    `rows` of a column fetches its values one by one; `whole` is the column at once, as pyarrow has it.
    """

    stamps: FileStamps
    features: dict[str, Any]
    names: tuple[str, ...]
    count: int
    rows: Callable[[str], Fetch]
    whole: Callable[[str], Any]


def is_arrow(path: Path) -> bool:
    """Whether `path` is a saved data set, its parquet file, or a folder of parquet files."""
    if path.is_dir():
        return any((path / name).is_file() for name in ("state.json", "dataset_dict.json")) or bool(_parquets(path))
    return path.suffix == ".parquet" and path.is_file()


def splits_of(folder: Path) -> dict[str, list[Path]]:
    """Return the parquet files of a folder by the split that their names give, "" where they give none."""
    found: dict[str, list[Path]] = {}
    for file in _parquets(folder):
        found.setdefault(_split(file), []).append(file)
    return found


def class_names_of(folder: Path) -> tuple[tuple[str, ...], bool]:
    """Return the class names that a data set saved by `save_to_disk` declares, and whether it may have labels."""
    path = folder / "dataset_info.json"
    features = _plain_features(read_object(path)) if path.is_file() else {}
    kinds = {name: feature.get("_type") for name, feature in features.items() if isinstance(feature, dict)}
    label = next((name for name, kind in kinds.items() if kind == "ClassLabel"), None)
    return _names(features, label), not features or label is not None or any(name in features for name in _LABELS)


def read_table(path: Path, labelled: bool, how: Preprocessing, memory: Path | None = None) -> ImageSet:
    """Open a saved data set. Images stay encoded in the files until they are asked for.

    Raises InputError naming the splits where `path` holds several, and for missing columns.
    """
    if (path / "dataset_dict.json").is_file():
        splits = sorted(item.name for item in path.iterdir() if (item / "state.json").is_file())
        raise InputError(f"{path}: holds several splits; write one of {', '.join(str(path / name) for name in splits)}")
    with one_message(path, _EXPECTED):
        is_parquet = path.suffix == ".parquet" or not (path / "state.json").is_file()
        table = (_open_parquet if is_parquet else _open_arrow)(path, memory)
        image, label = _columns(path, table.features, table.names, labelled)
        fetch = table.rows(image)
        labels, classes = (None, ()) if label is None else _labels(path, label, table)
        table.stamps.check()
    if table.count == 0:
        raise InputError(f"{path}: expected images, found none")
    classes, left = classes or _names(table.features, label), _incomplete(path, table.stamps.files)
    content, read = digest(table.stamps.digest), _bytes(path, fetch, table.stamps)
    return EncodedImages(str(path), content, read, labels, how, classes, table.count, left, memory=memory)


def _bytes(path: Path, fetch: Fetch, stamps: FileStamps) -> Callable[[int], bytes]:
    def read(index: int) -> bytes:
        stamps.check()
        with one_message(f"{path}: row {index}", _EXPECTED):
            value = fetch(index)
        stamps.check()  # it may have changed meanwhile
        found = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(found, bytes):
            raise InputError(f"{path}: row {index} holds no image itself; save the data set with its images")
        limits.require("image-bytes", len(found), f"{path}: row {index}")
        return found

    return read


def _columns(path: Path, features: dict[str, Any], names: Sequence[str], labelled: bool) -> tuple[str, str | None]:
    kinds = {name: feature.get("_type") for name, feature in features.items() if isinstance(feature, dict)}
    typed = [name for name in names if kinds.get(name) == "Image"]
    image = next((name for name in (*typed, *_IMAGES) if name in names), None)
    classes = [name for name in names if kinds.get(name) == "ClassLabel"]
    preferred = sorted(classes, key=lambda name: _LABELS.index(name) if name in _LABELS else len(_LABELS))
    label = next((name for name in (*preferred, *_LABELS) if name in names), None)
    if image is None or (labelled and label is None):
        lacking = "a column of images" if image is None else "a column of labels"
        raise InputError(f"{path}: expected {lacking}, found the columns {', '.join(names)}")
    return image, label if labelled else None


def _labels(path: Path, name: str, table: _Table) -> tuple[Indices, tuple[str, ...]]:
    """Return the labels of a column and, where they are texts, the class names."""
    values = table.whole(name)
    found = np.array(values.to_pylist(), object) if values.null_count else values.to_numpy()
    return read_labels(f"{path}: column {name!r}", found, table.count)


def _names(features: dict[str, Any], label: str | None) -> tuple[str, ...]:
    feature = features.get(label or "")
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _open_arrow(folder: Path, memory: Path | None) -> _Table:
    import pyarrow as pa

    state = read_object(folder / "state.json")
    if state.get("_indices_data_files"):
        raise InputError(f"{folder}: holds a selection of rows; save it after `flatten_indices()`")
    files = [folder / Path(item["filename"]).name for item in state["_data_files"]]
    stamps = FileStamps.of(folder, files, memory)
    for file in files:
        with opened(file, "an Arrow file"):
            try_reading(file, "arrow", _EXPECTED, memory)
    info_path = folder / "dataset_info.json"
    info = read_object(info_path) if info_path.is_file() else {}

    def whole(name: str) -> Any:
        mapped = pa.concat_tables([_mapped(file)[1].select([name]) for file in files])
        limits.require("unpacked-bytes", mapped.nbytes, f"{folder}: column {name!r}")
        copy = pa.BufferOutputStream()
        with pa.ipc.new_stream(copy, mapped.schema) as stream:
            stream.write_table(mapped)
        return pa.ipc.open_stream(copy.getvalue()).read_all()[name]

    def rows(name: str) -> Fetch:
        places = [_places(file, name) for file in files]
        if all(place is not None for place in places):
            return _reader(folder, files, [place for place in places if place is not None])
        values = whole(name)
        return lambda index: values[index].as_py()

    table = pa.concat_tables([_mapped(file)[1] for file in files])
    return _Table(stamps, _plain_features(info), tuple(table.column_names), table.num_rows, rows, whole)


def _mapped(file: Path) -> tuple[Any, Any]:
    """Return the bytes of an Arrow file and the table in it, mapped for as long as they are held: not for long.

    Where somebody cuts off a mapped file that is in use, the system ends the process.
    """
    import pyarrow as pa

    with pa.memory_map(str(file)) as source:
        data = source.read_buffer()
    return data, pa.ipc.open_stream(data).read_all()


def _places(file: Path, name: str) -> Indices | None:
    """Return where the values of a column of bytes, or of images, lie in a file: (n, 2) first byte and length.

    The length of one that is missing is -1. None where they don't lie there as they are: another type, or compressed.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    data, table = _mapped(file)
    found = [np.zeros((0, 2), np.int64)]
    for chunk in filter(len, table[name].chunks):
        if pa.types.is_struct(chunk.type) and chunk.type.get_field_index("bytes") >= 0:
            chunk = pc.struct_field(chunk, "bytes")
        if not (pa.types.is_binary(chunk.type) or pa.types.is_large_binary(chunk.type)):
            return None
        _, ends, values = chunk.buffers()
        if values is not None and not data.address <= values.address <= data.address + data.size - values.size:
            return None
        kind = np.int64 if pa.types.is_large_binary(chunk.type) else np.int32
        bounds = np.frombuffer(ends, kind)[chunk.offset : chunk.offset + len(chunk) + 1].astype(np.int64)
        first = bounds[:-1] + (0 if values is None else values.address - data.address)
        lengths = np.where(chunk.is_null().to_numpy(zero_copy_only=False), -1, np.diff(bounds))
        found.append(np.stack([first, lengths], axis=1))
    return np.concatenate(found)


def _reader(folder: Path, files: Sequence[Path], places: Sequence[Indices]) -> Fetch:
    """Return what fetches a row's bytes from where they lie in the files, None where there are none."""
    ends = np.cumsum([len(some) for some in places])

    def fetch(index: int) -> bytes | None:
        number = int(np.searchsorted(ends, index, side="right"))
        start, length = map(int, places[number][index - ends[number]])  # counted from the file's last row
        limits.require("image-bytes", length, f"{folder}: row {index}")
        with regular(files[number], "an Arrow file") as stream:
            stream.seek(start)
            return None if length < 0 else stream.read(length)

    return fetch


def _parquets(folder: Path) -> list[Path]:
    """Return a folder's parquet files in the order of their numbers."""
    found = (file for file in folder.glob("*.parquet") if not file.name.startswith("."))
    return sorted(found, key=lambda file: [int(part) if part.isdigit() else part for part in _NUMBER.split(file.name)])


def _split(file: Path) -> str:
    """Return the split that a parquet file's name gives: the name without what numbers the split's parts, or ""."""
    stem = _PART_OF.sub("", file.stem)
    plain = re.sub(r"[\W\d_]+", "", stem).lower()
    if plain in _PARTS or _SPARK.fullmatch(stem):
        return ""
    return plain if plain in _SPLITS else stem


def _incomplete(path: Path, files: Sequence[Path]) -> tuple[str, ...]:
    """Return a remark where file names say how many files there are, and some are missing."""
    said = {int(found[1]) for file in files if (found := _PART_OF.search(file.stem))}
    if path.is_file() or len(said) != 1 or max(said) <= len(files):
        return ()
    return (f"{path}: expected {max(said)} files, as their names say, found {len(files)}",)


def _open_parquet(path: Path, memory: Path | None) -> _Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    splits = {_split(path): [path]} if path.is_file() else splits_of(path)
    files = [path] if path.is_file() else _parquets(path)
    if len(splits) > 1:
        names = ", ".join(split or f"{of[0].name} (without a name)" for split, of in splits.items())
        raise InputError(f"{path}: holds the splits {names}; keep one in a folder of its own, or name one file")
    stamps = FileStamps.of(path if path.is_dir() else path.parent, files, memory)
    for file in files:
        with opened(file, "a parquet file"):
            try_reading(file, "parquet", _EXPECTED, memory)
    tables = [pq.ParquetFile(file) for file in files]
    groups = [(file, group) for file in tables for group in range(file.num_row_groups)]
    ends = np.cumsum([file.metadata.row_group(group).num_rows for file, group in groups])

    def rows(name: str) -> Fetch:
        @lru_cache(maxsize=2)  # rows are asked for in order, so the last group serves most of them
        def read(number: int) -> Any:
            file, group = groups[number]
            return file.read_row_group(group, columns=[name])[name]

        def fetch(index: int) -> Any:
            number = int(np.searchsorted(ends, index, side="right"))
            before = int(ends[number - 1]) if number else 0
            return read(number)[index - before].as_py()

        return fetch

    def whole(name: str) -> Any:
        chunks, size = list[Any](), 0
        for file, group in groups:  # each may unpack to what a child process may take
            column = file.read_row_group(group, columns=[name])[name]
            chunks += column.chunks
            size += column.nbytes
            limits.require("unpacked-bytes", size, f"{path}: column {name!r}")
        return pa.chunked_array(chunks)

    features = [_features(file.schema_arrow) for file in tables]
    other = next((file for file, found in zip(files, features, strict=True) if found != features[0]), None)
    if other is not None:
        raise InputError(f"{path}: expected files of the same columns and class names, {other.name} has others")
    count = int(ends[-1]) if len(ends) else 0
    return _Table(stamps, features[0], tuple(tables[0].schema_arrow.names), count, rows, whole)


def _features(schema: Any) -> dict[str, Any]:
    meta = from_json((schema.metadata or {}).get(b"huggingface", b"{}"))
    info = meta.get("info") if isinstance(meta, dict) else None
    return _plain_features(info if isinstance(info, dict) else {})


def _plain_features(info: dict[str, Any]) -> dict[str, Any]:
    """Return what a data set says about its columns; nothing where it says something else."""
    features = info.get("features")
    return features if isinstance(features, dict) else {}
