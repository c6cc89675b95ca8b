"""Open the images at a path, whatever lies there."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ri_analysis.errors import InputError, listing
from ri_analysis.files import digest, file_digest
from ri_analysis.stamps import reading
from ri_analysis.suite import arrow, public_layouts
from ri_analysis.suite.decoding import SUFFIXES
from ri_analysis.suite.images import CLIP, ArrayImages, FileImages, ImageSet, KeptImages
from ri_analysis.suite.labels import read_labels, sorted_names
from ri_analysis.suite.listing import ImageFiles, hidden
from ri_analysis.suite.preprocessing import Preprocessing

_SPLIT = re.compile(r"(train|training|val|valid|validation|dev|test|testing|eval|evaluation)\d*")


def read_images(path: Path, *, labelled: bool, how: Preprocessing = CLIP, memory: Path | None = None) -> ImageSet:
    """Open the images at `path`.

    That is an npz file, an image folder (one subfolder per class where `labelled`), a Hugging Face data set saved to
    disk or its parquet files, or a file of a public data set as torchvision lays it out (see `public_layouts`).
    Damaged images are left out and named in the set's `remarks`. `memory` is a folder that keeps decoded images and
    what was found damaged. Raises InputError for a missing or damaged file, wrong shapes or types, missing labels.
    """
    if arrow.is_arrow(path):
        return _kept(arrow.read_table(path, labelled, how, memory), memory)
    if path.is_dir():
        return _kept(_read_folder(path, labelled, how, memory), memory)
    if path.suffix == ".npz":
        return _read_npz(path, labelled, how)
    found = public_layouts.read(path, how) if path.is_file() else None
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
    try:
        reading(path)
        content = file_digest(path)
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files if key in ("images", "labels")}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: expected a whole npz file, found: {error}") from error
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


def _arrays(path: Path) -> str:
    """Return the names, types and shapes of an npz file's arrays, for an error."""
    found = []
    with np.load(path, allow_pickle=False) as file:
        for name in file.files:
            try:
                array = file[name]
                found.append(f"{name!r} {array.dtype} {array.shape}")
            except ValueError:  # Python objects
                found.append(f"{name!r}")
    return f"{listing(found, 8)}; save them under these names" if found else "none"


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
