"""Sets of images: npz arrays, image folders, and generated ones, all read as uint8 at the model's size."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ri_analysis.errors import InputError
from ri_analysis.files import digest, file_digest
from ri_analysis.suite.generators import GENERATORS, Pixels

Indices = npt.NDArray[np.int64]
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".tif", ".tiff")


class ImageSet(Protocol):
    """Some images, with labels or without.

    `labels` is (n,) int64 or None, `digest` names the content, `source` is what errors call it.
    """

    source: str
    digest: str
    labels: Indices | None

    def __len__(self) -> int: ...

    def pixels(self, indices: Sequence[int] | Indices, size: int) -> Pixels:
        """Return the images at `indices`, RGB, resized and centre-cropped to (k, size, size, 3) uint8."""
        ...


class ArrayImages:
    """Images held in memory, from the arrays of an npz file."""

    def __init__(self, source: str, content: str, images: Pixels, labels: Indices | None) -> None:
        self.source, self.digest, self._images, self.labels = source, content, images, labels

    def __len__(self) -> int:
        return len(self._images)

    def pixels(self, indices: Sequence[int] | Indices, size: int) -> Pixels:
        """See ImageSet."""
        chosen = self._images[np.asarray(indices, dtype=np.int64)]
        if chosen.ndim == 3:
            chosen = np.repeat(chosen[..., None], 3, axis=-1)
        if chosen.shape[1:3] == (size, size):
            return chosen
        return _stack([fit(Image.fromarray(image), size) for image in chosen], size)


class FolderImages:
    """Image files, decoded when they are asked for."""

    def __init__(self, folder: Path, files: Sequence[Path], labels: Indices | None) -> None:
        self.source, self.labels, self._files = str(folder), labels, tuple(files)
        stamps = [f"{file.relative_to(folder)} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
        self.digest = digest(*stamps)

    def __len__(self) -> int:
        return len(self._files)

    def pixels(self, indices: Sequence[int] | Indices, size: int) -> Pixels:
        """See ImageSet. Raises InputError naming a file that is not an image."""
        return _stack([self._decode(self._files[index], size) for index in indices], size)

    @staticmethod
    def _decode(file: Path, size: int) -> Pixels:
        try:
            with Image.open(file) as image:
                return fit(image, size)
        except (UnidentifiedImageError, OSError) as error:
            raise InputError(f"{file}: expected an image, found: {error}") from error


class GeneratedImages:
    """Images made from a seed; image i depends on (seed, i) alone."""

    labels: Indices | None = None

    def __init__(self, generator: str, seed: int, count: int) -> None:
        self.source = f"{generator} (seed {seed})"
        self.digest = digest("generated", generator, str(seed), str(count))
        self._make, self._seed, self._count = GENERATORS[generator], seed, count

    def __len__(self) -> int:
        return self._count

    def pixels(self, indices: Sequence[int] | Indices, size: int) -> Pixels:
        """See ImageSet."""
        made = [self._make(np.random.default_rng([self._seed, int(index)]), size) for index in indices]
        return _stack(made, size)


def read_images(path: Path, *, labelled: bool) -> ImageSet:
    """Open the images at `path`: an npz file, or a folder (one subfolder per class where `labelled`).

    Raises InputError for a missing or damaged file, wrong shapes or types, or missing labels.
    """
    if path.is_dir():
        return _read_folder(path, labelled)
    if path.suffix != ".npz":
        raise InputError(f"{path}: expected an .npz file or a folder of images, found {_what(path)}")
    return _read_npz(path, labelled)


def in_memory(images: ImageSet, size: int) -> ImageSet:
    """Return `images` decoded once at `size`, when they need at most 2 GiB; else as they are."""
    if isinstance(images, ArrayImages) or len(images) * size * size * 3 > 2 << 30:
        return images
    return ArrayImages(images.source, images.digest, images.pixels(range(len(images)), size), images.labels)


def stratified(labels: Indices | None, n: int, count: int, seed: int = 0) -> Indices:
    """Return `count` of `n` indices, sorted, spread evenly over the classes (at random without labels); seeded."""
    if count >= n:
        return np.arange(n)
    order = np.random.default_rng(seed).permutation(n)
    if labels is None:
        return np.sort(order[:count])
    # Rank of each image within its class: taking the lowest ranks first draws the classes evenly.
    shuffled = labels[order]
    by_class = np.argsort(shuffled, kind="stable")
    _, starts = np.unique(shuffled[by_class], return_index=True)
    sizes = np.diff(np.append(starts, n))
    rank = np.empty(n, dtype=np.int64)
    rank[by_class] = np.arange(n) - np.repeat(starts, sizes)
    return np.sort(order[np.argsort(rank, kind="stable")[:count]])


def fit(image: Image.Image, size: int) -> Pixels:
    """Return `image` as RGB with its shorter side resized to `size` (bicubic) and the middle kept: CLIP's transform."""
    image = image.convert("RGB")
    if image.size != (size, size):
        ratio = size / min(image.size)
        width, height = (max(size, round(side * ratio)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - size) // 2, (height - size) // 2
        image = image.crop((left, top, left + size, top + size))
    return np.asarray(image, dtype=np.uint8)


def _stack(images: Sequence[Pixels], size: int) -> Pixels:
    return np.stack(images) if images else np.zeros((0, size, size, 3), np.uint8)


def _what(path: Path) -> str:
    return f"suffix {path.suffix!r}" if path.exists() else "nothing"


def _read_npz(path: Path, labelled: bool) -> ImageSet:
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
        return ArrayImages(str(path), content, images, None)
    if labels is None:
        raise InputError(f"{path}: expected an array 'labels', found none")
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise InputError(
            f"{path}: 'labels' must be {len(images)} non-negative integers, found {labels.dtype} {labels.shape}"
        )
    return ArrayImages(str(path), content, images, labels.astype(np.int64))


def _read_folder(folder: Path, labelled: bool) -> ImageSet:
    if not labelled:
        files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
        if not files:
            raise InputError(f"{folder}: expected images ({', '.join(SUFFIXES)}), found none")
        return FolderImages(folder, files, None)
    classes = sorted(item for item in folder.iterdir() if item.is_dir())
    groups = [sorted(file for file in item.rglob("*") if file.suffix.lower() in SUFFIXES) for item in classes]
    files = [file for group in groups for file in group]
    if not files:
        raise InputError(f"{folder}: expected one subfolder of images per class, found none")
    labels = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    return FolderImages(folder, files, labels.astype(np.int64))
