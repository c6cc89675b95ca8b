"""Open the images at a path, whatever lies there."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from ri_analysis.errors import InputError
from ri_analysis.files import file_digest, write_text
from ri_analysis.suite import arrow, public_layouts
from ri_analysis.suite.images import CLIP, SUFFIXES, ArrayImages, FileImages, ImageSet, KeptImages, damaged, file_stamps
from ri_analysis.suite.preprocessing import Preprocessing


def read_images(path: Path, *, labelled: bool, how: Preprocessing = CLIP, memory: Path | None = None) -> ImageSet:
    """Open the images at `path`.

    That is an npz file, an image folder (one subfolder per class where `labelled`), a Hugging Face data set saved to
    disk or its parquet files, or a file of a public data set as torchvision lays it out (see `public_layouts`).
    Damaged image files are left out and named in the set's `skipped`. `memory` is a folder that keeps decoded images
    and what was found damaged. Raises InputError for a missing or damaged file, wrong shapes or types, missing labels.
    """
    if arrow.is_arrow(path):
        return _kept(arrow.read_table(path, labelled, how), memory)
    if path.is_dir():
        return _kept(_read_folder(path, labelled, how, memory), memory)
    if path.suffix == ".npz":
        return _read_npz(path, labelled, how)
    found = public_layouts.read(path, how) if path.is_file() else None
    if found is None:
        what = f"suffix {path.suffix!r}" if path.exists() else "nothing"
        raise InputError(f"{path}: expected an .npz file, a folder of images or another known data set, found {what}")
    if isinstance(found, public_layouts.Listed):
        return _kept(_checked(found.source, found.files, found.labels, how, found.classes, memory), memory)
    return found


def _kept(images: ImageSet, memory: Path | None) -> ImageSet:
    return images if memory is None else KeptImages(images, memory)


def _read_npz(path: Path, labelled: bool, how: Preprocessing) -> ImageSet:
    content = file_digest(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files if key in ("images", "labels")}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: expected a whole npz file, found: {error}") from error
    images, labels = arrays.get("images"), arrays.get("labels")
    if images is None:
        raise InputError(f"{path}: expected an array 'images', found {sorted(arrays) or 'none'}")
    colour = images.ndim == 4 and images.shape[-1] == 3
    if images.dtype != np.uint8 or not (images.ndim == 3 or colour) or len(images) == 0:
        raise InputError(
            f"{path}: 'images' must be uint8 of shape (n, h, w) or (n, h, w, 3) with n > 0, "
            f"found {images.dtype} {images.shape}"
        )
    if not labelled:
        return ArrayImages(str(path), content, images, None, how)
    if labels is None:
        raise InputError(f"{path}: expected an array 'labels', found none")
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise InputError(
            f"{path}: 'labels' must be {len(images)} non-negative integers, found {labels.dtype} {labels.shape}"
        )
    return ArrayImages(str(path), content, images, labels.astype(np.int64), how)


def _read_folder(folder: Path, labelled: bool, how: Preprocessing, memory: Path | None) -> ImageSet:
    if not labelled:
        files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
        if not files:
            raise InputError(f"{folder}: expected images ({', '.join(SUFFIXES)}), found none")
        return _checked(folder, files, None, how, (), memory)
    classes = sorted(item for item in folder.iterdir() if item.is_dir())
    groups = [sorted(file for file in item.rglob("*") if file.suffix.lower() in SUFFIXES) for item in classes]
    files = [file for group in groups for file in group]
    if not files:
        raise InputError(f"{folder}: expected one subfolder of images per class, found none")
    labels = np.repeat(np.arange(len(groups)), [len(group) for group in groups]).astype(np.int64)
    return _checked(folder, files, labels, how, [item.name for item in classes], memory)


def _checked(
    folder: Path,
    files: Sequence[Path],
    labels: public_layouts.Indices | None,
    how: Preprocessing,
    classes: Sequence[str],
    memory: Path | None,
) -> ImageSet:
    """Return the files that are whole. What was found is remembered while they do not change."""
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise InputError(f"{folder}: expected the image {missing}, found none")
    stamps = file_stamps(folder, files)
    skipped = _find_damaged(folder, files, stamps, memory)
    whole = [index for index, file in enumerate(files) if str(file.relative_to(folder)) not in skipped]
    if not whole:
        raise InputError(f"{folder / next(iter(skipped))}: expected an image, found: damaged, as all {len(files)} here")
    kept = None if labels is None else labels[whole]
    return FileImages(folder, [files[index] for index in whole], kept, how, classes, sorted(skipped), stamps)


def _find_damaged(folder: Path, files: Sequence[Path], stamps: str, memory: Path | None) -> set[str]:
    note = None if memory is None else memory / f"{stamps}.damaged.json"
    if note is not None and note.is_file():
        return set(json.loads(note.read_text(encoding="utf-8")))
    found = {str(file.relative_to(folder)) for file in files if damaged(file) is not None}
    if note is not None:
        with suppress(OSError):  # a full or read-only disk: look again next time
            write_text(note, json.dumps(sorted(found)))
    return found
