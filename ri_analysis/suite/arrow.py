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
from ri_analysis.documents import opened, read_object
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
class _Column:
    """One column over several files: `fetch` of a row, how many there are, and all of it at once, as pyarrow has it."""

    fetch: Fetch
    count: int
    whole: Callable[[], Any]


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
    """Open a saved data set. Images stay encoded in the memory-mapped files until they are asked for.

    Raises InputError naming the splits where `path` holds several, and for missing columns.
    """
    if (path / "dataset_dict.json").is_file():
        splits = sorted(item.name for item in path.iterdir() if (item / "state.json").is_file())
        raise InputError(f"{path}: holds several splits; write one of {', '.join(str(path / name) for name in splits)}")
    with one_message(path, _EXPECTED):
        if path.suffix == ".parquet" or not (path / "state.json").is_file():
            files, features, columns = _open_parquet(path, memory)
        else:
            files, features, columns = _open_arrow(path, memory)
        image, label = _columns(path, features, tuple(columns), labelled)
        fetch, count = columns[image].fetch, columns[image].count
        labels, classes = (None, ()) if label is None else _labels(path, label, columns[label])
    if count == 0:
        raise InputError(f"{path}: expected images, found none")
    stamps = FileStamps.of(path if path.is_dir() else path.parent, files, memory)
    classes, left = classes or _names(features, label), _incomplete(path, files)
    content, read = digest(stamps.digest), _bytes(path, fetch, stamps)
    return EncodedImages(str(path), content, read, labels, how, classes, count, left, memory=memory)


def _bytes(path: Path, fetch: Fetch, stamps: FileStamps) -> Callable[[int], bytes]:
    def read(index: int) -> bytes:
        stamps.check()  # a table that became shorter would end the process
        with one_message(f"{path}: row {index}", _EXPECTED):
            value = fetch(index)
        found = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(found, bytes):
            raise InputError(f"{path}: row {index} holds no image of its own; save the data set with its images")
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


def _labels(path: Path, name: str, column: _Column) -> tuple[Indices, tuple[str, ...]]:
    """Return the labels of a column and, where they are texts, the class names."""
    values = column.whole()
    limits.require("unpacked-bytes", values.nbytes, f"{path}: column {name!r}")
    found = np.array(values.to_pylist(), object) if values.null_count else values.to_numpy()
    return read_labels(f"{path}: column {name!r}", found, column.count)


def _names(features: dict[str, Any], label: str | None) -> tuple[str, ...]:
    feature = features.get(label or "")
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _open_arrow(folder: Path, memory: Path | None) -> tuple[list[Path], dict[str, Any], dict[str, _Column]]:
    import pyarrow as pa

    state = read_object(folder / "state.json")
    if state.get("_indices_data_files"):
        raise InputError(f"{folder}: holds a selection of rows; save it after `flatten_indices()`")
    files = [folder / Path(item["filename"]).name for item in state["_data_files"]]
    for file in files:
        with opened(file, "an Arrow file"):
            try_reading(file, "arrow", _EXPECTED, memory)
    table = pa.concat_tables([pa.ipc.open_stream(pa.memory_map(str(file))).read_all() for file in files])
    info_path = folder / "dataset_info.json"
    info = read_object(info_path) if info_path.is_file() else {}

    def column(name: str) -> _Column:
        values = table[name]
        return _Column(lambda index: values[index].as_py(), len(values), lambda: values)

    return files, _plain_features(info), {name: column(name) for name in table.column_names}


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
    return (f"{path}: holds {len(files)} files, and their names say that there are {max(said)}",)


def _open_parquet(path: Path, memory: Path | None) -> tuple[list[Path], dict[str, Any], dict[str, _Column]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    splits = {_split(path): [path]} if path.is_file() else splits_of(path)
    files = [path] if path.is_file() else _parquets(path)
    if len(splits) > 1:
        names = ", ".join(split or f"{of[0].name} (without a name)" for split, of in splits.items())
        raise InputError(f"{path}: holds the splits {names}; keep one in a folder of its own, or name one file")
    for file in files:
        with opened(file, "a parquet file"):
            try_reading(file, "parquet", _EXPECTED, memory)
    tables = [pq.ParquetFile(file) for file in files]
    groups = [(file, group) for file in tables for group in range(file.num_row_groups)]
    ends = np.cumsum([file.metadata.row_group(group).num_rows for file, group in groups])

    def column(name: str) -> _Column:
        @lru_cache(maxsize=2)  # rows are asked for in order, so the last group serves most of them
        def read(number: int) -> Any:
            file, group = groups[number]
            return file.read_row_group(group, columns=[name])[name]

        def fetch(index: int) -> Any:
            number = int(np.searchsorted(ends, index, side="right"))
            before = int(ends[number - 1]) if number else 0
            return read(number)[index - before].as_py()

        def whole() -> Any:
            chunks, size = list[Any](), 0
            for number in range(len(groups)):  # each may unpack to what a child process may take
                chunks += read(number).chunks
                size += read(number).nbytes
                limits.require("unpacked-bytes", size, f"{path}: column {name!r}")
            return pa.chunked_array(chunks)

        return _Column(fetch, int(ends[-1]) if len(ends) else 0, whole)

    features = [_features(file.schema_arrow) for file in tables]
    other = next((file for file, found in zip(files, features, strict=True) if found != features[0]), None)
    if other is not None:
        raise InputError(f"{path}: expected files of the same columns and class names, {other.name} has others")
    return files, features[0], {name: column(name) for name in tables[0].schema_arrow.names}


def _features(schema: Any) -> dict[str, Any]:
    meta = from_json((schema.metadata or {}).get(b"huggingface", b"{}"))
    info = meta.get("info") if isinstance(meta, dict) else None
    return _plain_features(info if isinstance(info, dict) else {})


def _plain_features(info: dict[str, Any]) -> dict[str, Any]:
    """Return what a data set says about its columns; nothing where it says something else."""
    features = info.get("features")
    return features if isinstance(features, dict) else {}
