"""Open the images at a path, whatever lies there."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ri_analysis.errors import InputError
from ri_analysis.files import file_digest
from ri_analysis.suite import arrow, public_layouts
from ri_analysis.suite.decoding import SUFFIXES
from ri_analysis.suite.images import CLIP, ArrayImages, FileImages, ImageSet, KeptImages
from ri_analysis.suite.listing import ImageFiles
from ri_analysis.suite.preprocessing import Preprocessing


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
    images = ImageFiles(folder)
    if not labelled:
        files = images.below(folder)
        if not files:
            raise InputError(f"{folder}: expected images ({', '.join(SUFFIXES)}), found none{_left_out(images)}")
        return _checked(folder, files, None, how, (), memory, images.remarks)
    images.beside()
    classes = sorted(item for item in folder.iterdir() if item.is_dir())
    groups = [images.below(item) for item in classes]
    files = [file for group in groups for file in group]
    if not files:
        raise InputError(f"{folder}: expected one subfolder of images per class, found none{_left_out(images)}")
    labels = np.repeat(np.arange(len(groups)), [len(group) for group in groups]).astype(np.int64)
    return _checked(folder, files, labels, how, [item.name for item in classes], memory, images.remarks)


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
