"""Open the images at a path, whatever lies there."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ri_analysis import limits
from ri_analysis.archives import require_few_entries
from ri_analysis.documents import opened
from ri_analysis.errors import InputError, listing, one_message
from ri_analysis.files import digest, file_digest
from ri_analysis.suite import arrow, public_layouts
from ri_analysis.suite.decoding import SUFFIXES
from ri_analysis.suite.images import CLIP, ArrayImages, FileImages, ImageSet, KeptImages
from ri_analysis.suite.labels import read_labels, sorted_names
from ri_analysis.suite.listing import ImageFiles, hidden
from ri_analysis.suite.preprocessing import Preprocessing

_LISTED = 100  # arrays of an npz file that a message may count
_SPLIT = re.compile(r"(train|training|val|valid|validation|dev|test|testing|eval|evaluation)\d*")


def read_images(path: Path, *, labelled: bool, how: Preprocessing = CLIP, memory: Path | None = None) -> ImageSet:
    """Open the images at `path`.

    That is an npz file, an image folder (one subfolder per class where `labelled`), a Hugging Face data set saved to
    disk or its parquet files, or a file of a public data set as torchvision lays it out (see `public_layouts`).
    Damaged images are left out and named in the set's `remarks`. `memory` is a folder that keeps decoded images and
    what was found damaged. Raises InputError for a missing or damaged file, wrong shapes or types, missing labels.
    """
    with one_message(path, "images"):
        return _read_images(path, labelled, how, memory)


def _read_images(path: Path, labelled: bool, how: Preprocessing, memory: Path | None) -> ImageSet:
    if arrow.is_arrow(path):
        return _kept(arrow.read_table(path, labelled, how, memory), memory)
    if path.is_dir():
        return _kept(_read_folder(path, labelled, how, memory), memory)
    if path.suffix == ".npz":
        return _read_npz(path, labelled, how)
    found = public_layouts.read(path, how, memory) if path.is_file() else None
    if found is None:
        what = f"suffix {path.suffix!r}" if path.exists() else "nothing"
        raise InputError(f"{path}: expected an .npz file, a folder of images or another known data set, found {what}")
    if isinstance(found, public_layouts.Listed):
        images = _checked(found.source, found.files, found.labels, how, found.classes, memory)
        images.digest = digest(images.digest, found.labels.tobytes())  # they lie in a file of their own
        return _kept(images, memory)
    return found


def _kept(images: ImageSet, memory: Path | None) -> ImageSet:
    return images if memory is None else KeptImages(images, memory)


def _read_npz(path: Path, labelled: bool, how: Preprocessing) -> ImageSet:
    arrays = read_arrays(path, ("images", "labels"))
    content = file_digest(path)
    images, labels = arrays.get("images"), arrays.get("labels")
    if images is None:
        raise InputError(f"{path}: expected an array 'images', found {_arrays(path)}")
    bare = ArrayImages(str(path), content, images, None, how)
    if not labelled:
        return bare
    if labels is None:
        raise InputError(f"{path}: expected an array 'labels', found {_arrays(path)}")
    numbers, classes = read_labels(f"{path}: 'labels'", labels, len(images))
    return ArrayImages(str(path), content, images, numbers, how, classes)


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Return those of the arrays called `names` that an npz file holds. Raises InputError."""
    with _npz(path) as archive:
        wanted = {name: entry for entry in archive.infolist() if (name := _array_name(entry)) in names}
        limits.require("unpacked-bytes", sum(entry.file_size for entry in wanted.values()), path)
        return {name: _array(path, archive, entry) for name, entry in wanted.items()}


@contextmanager
def _npz(path: Path) -> Iterator[zipfile.ZipFile]:
    with opened(path, "a whole npz file") as stream:
        require_few_entries(path, stream)
        with zipfile.ZipFile(stream) as archive:
            yield archive


def _array_name(entry: zipfile.ZipInfo) -> str:
    return entry.filename.removesuffix(".npy")


def _array(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> npt.NDArray[Any]:
    name = _array_name(entry)
    if entry.flag_bits & 1:
        raise InputError(f"{path}: expected an array {name!r} that is not encrypted; save it without a password")
    with archive.open(entry) as stream:
        shape, fortran, kind = _header(stream)
        held = entry.file_size - stream.tell()
        if kind.hasobject:
            raise InputError(f"{path}: expected numbers or texts in {name!r}, found Python objects")
        if math.prod(shape) * kind.itemsize != held:  # before memory is taken for it
            raise InputError(
                f"{path}: expected the data of {name!r}, {kind} {shape}, to fill {math.prod(shape) * kind.itemsize:,} "
                f"bytes, found {held:,}"
            )
        data = stream.read(held)
        if len(data) != held:
            raise InputError(f"{path}: expected {held:,} bytes in {name!r}, found fewer; it is truncated")
    found = np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")
    return found


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return the shape, whether the order is Fortran's, and the type that an npy header declares."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, kind = read(stream)
    return shape, fortran, kind


def arrays_of(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return the types and shapes of an npz file's first arrays by name, read from their headers. Raises InputError."""
    found = {}
    with _npz(path) as archive:
        for entry in archive.infolist()[:_LISTED]:
            with suppress(Exception), archive.open(entry) as stream:
                shape, _, kind = _header(stream)
                found[_array_name(entry)] = (str(kind), shape)
    return found


def _arrays(path: Path) -> str:
    """Return the names, types and shapes of an npz file's arrays, for an error."""
    found = [
        f"{name!r} {'' if kind == 'object' else f'{kind} {shape}'}" for name, (kind, shape) in arrays_of(path).items()
    ]
    return f"{listing([item.strip() for item in found], 8)}; save them under these names" if found else "none"


def _read_folder(folder: Path, labelled: bool, how: Preprocessing, memory: Path | None) -> ImageSet:
    images = ImageFiles(folder)
    if not labelled:
        files = images.below(folder)
        if not files:
            raise InputError(f"{folder}: expected images ({', '.join(SUFFIXES)}), found none{_left_out(images)}")
        return _checked(folder, files, None, how, (), memory, images.remarks)
    images.beside()
    folders = {item.name: item for item in folder.iterdir() if item.is_dir() and not hidden(item.name)}
    classes = sorted_names(folders)
    groups = [images.below(folders[name]) for name in classes]
    files = [file for group in groups for file in group]
    if not files:
        raise InputError(f"{folder}: expected one subfolder of images per class, found none{_left_out(images)}")
    _refuse_splits(folder, {folders[name]: group for name, group in zip(classes, groups, strict=True) if group})
    labels = np.repeat(np.arange(len(groups)), [len(group) for group in groups]).astype(np.int64)
    found = _checked(folder, files, labels, how, classes, memory, images.remarks)
    if classes != sorted(item.name for item in folder.iterdir() if item.is_dir()):
        found.digest = digest(found.digest, *classes)  # earlier versions numbered these classes otherwise
    return found


def _refuse_splits(folder: Path, groups: Mapping[Path, Sequence[Path]]) -> None:
    """Raise InputError where the subfolders that hold images are the splits of a data set and not its classes."""
    splits = [item for item in groups if _SPLIT.fullmatch(item.name.lower())]
    deeper = [item for item in splits if all(file.parent != item for file in groups[item])]
    if len(splits) > 1 or (deeper and len(groups) == 1):
        names = ", ".join(str(item) for item in splits)
        raise InputError(f"{folder}: expected one subfolder per class, found splits of the data; name one of {names}")


def _left_out(images: ImageFiles) -> str:
    return "".join(f"; {remark.removeprefix(f'{images.folder}: ')}" for remark in images.remarks)


def _checked(
    folder: Path,
    files: Sequence[Path],
    labels: public_layouts.Indices | None,
    how: Preprocessing,
    classes: Sequence[str],
    memory: Path | None,
    remarks: Sequence[str] = (),
) -> ImageSet:
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise InputError(f"{folder}: expected the image {missing}, found none")
    return FileImages(folder, files, labels, how, classes, memory, remarks)
