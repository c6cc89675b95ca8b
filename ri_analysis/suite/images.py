"""Sets of images: arrays, files, rows of tables and generated ones, all read as uint8 at the model's size."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ri_analysis.errors import InputError, listing
from ri_analysis.files import atomic_path, digest
from ri_analysis.suite.generators import GENERATORS, Pixels
from ri_analysis.suite.preprocessing import Preprocessing, fit

Indices = npt.NDArray[np.int64]
CLIP = Preprocessing()
# What Pillow raises for images that are damaged, cut off, or too large to be honest.
_DECODING = (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".tif", ".tiff")


class ImageSet(Protocol):
    """Some images, with labels or without.

    `labels` is (n,) int64 or None, `digest` names the content, `source` is what errors call it. `classes` are the class
    names that the data itself gives, by label (empty when it gives none). `remarks` are whole sentences, each naming
    the file, about what was left out or read otherwise than a user would think.
    """

    source: str
    digest: str
    labels: Indices | None
    classes: tuple[str, ...]
    remarks: tuple[str, ...]

    def __len__(self) -> int: ...

    def pixels(self, indices: Sequence[int] | Indices, size: int) -> Pixels:
        """Return the images at `indices`, RGB, resized and centre-cropped to (k, size, size, 3) uint8."""
        ...


class ArrayImages:
    """Images held in memory, (n, h, w) or (n, h, w, 3) uint8. Raises InputError for others and for none."""

    def __init__(
        self,
        source: str,
        content: str,
        images: Pixels,
        labels: Indices | None,
        how: Preprocessing = CLIP,
        classes: Sequence[str] = (),
        remarks: Sequence[str] = (),
    ) -> None:
        colour = images.ndim == 4 and images.shape[-1] == 3
        if images.dtype != np.uint8 or not (images.ndim == 3 or colour) or images.size == 0:
            raise InputError(
                f"{source}: images must be uint8 of shape (n, h, w) or (n, h, w, 3) with n > 0, h > 0 and w > 0, "
                f"found {images.dtype} {images.shape}"
            )
        self.source, self._images, self.labels, self._how = source, images, labels, how
        self.digest = digest(content, how.digest) if how.digest else content
        self.classes, self.remarks = tuple(classes), tuple(remarks)

    def __len__(self) -> int:
        return len(self._images)

    def pixels(self, indices: Sequence[int] | Indices, size: int) -> Pixels:
        """See ImageSet."""
        chosen = self._images[np.asarray(indices, dtype=np.int64)]
        if chosen.ndim == 3:
            chosen = np.repeat(chosen[..., None], 3, axis=-1)
        if chosen.shape[1:3] == (size, size):
            return chosen
        return stack([fit(Image.fromarray(image), size, self._how) for image in chosen], size)


class FileImages:
    """Image files, decoded when they are asked for.

    `skipped` are the files left out as damaged.
    """

    def __init__(
        self,
        folder: Path,
        files: Sequence[Path],
        labels: Indices | None,
        how: Preprocessing,
        classes: Sequence[str] = (),
        skipped: Sequence[str] = (),
        stamps: str | None = None,
        remarks: Sequence[str] = (),
    ) -> None:
        self.source, self.labels, self._files, self._how = str(folder), labels, tuple(files), how
        self.classes = tuple(classes)
        damage = (f"{folder}: {len(skipped)} damaged images skipped: {listing(skipped, 5)}",) if skipped else ()
        self.remarks = (*remarks, *damage)
        self.digest = digest(stamps or file_stamps(folder, files), *skipped, how.digest)

    def __len__(self) -> int:
        return len(self._files)

    def pixels(self, indices: Sequence[int] | Indices, size: int) -> Pixels:
        """See ImageSet. Raises InputError naming a file that is not an image."""
        return stack([self._decode(self._files[index], size) for index in indices], size)

    def _decode(self, file: Path, size: int) -> Pixels:
        try:
            with Image.open(file) as image:
                return fit(image, size, self._how)
        except _DECODING as error:
            raise InputError(f"{file}: expected an image, found: {error}") from error


class EncodedImages:
    """Encoded images from a table; `read` returns the bytes of one row."""

    def __init__(
        self,
        source: str,
        content: str,
        read: Callable[[int], bytes],
        labels: Indices | None,
        how: Preprocessing,
        classes: Sequence[str] = (),
        count: int = 0,
        remarks: Sequence[str] = (),
    ) -> None:
        self.source, self.digest, self.labels = source, digest(content, how.digest), labels
        self.classes, self.remarks, self._read, self._how = tuple(classes), tuple(remarks), read, how
        self._count = len(labels) if labels is not None else count

    def __len__(self) -> int:
        return self._count

    def pixels(self, indices: Sequence[int] | Indices, size: int) -> Pixels:
        """See ImageSet. Raises InputError naming a row that is not an image."""
        return stack([self._decode(int(index), size) for index in indices], size)

    def _decode(self, index: int, size: int) -> Pixels:
        try:
            with Image.open(io.BytesIO(self._read(index))) as image:
                return fit(image, size, self._how)
        except _DECODING as error:
            raise InputError(f"{self.source}: expected an image in row {index}, found: {error}") from error


class Subset:
    """Some images of a set."""

    def __init__(self, images: ImageSet, indices: Indices) -> None:
        self._images, self._indices, self.source = images, indices, images.source
        self.labels = None if images.labels is None else images.labels[indices]
        self.digest = digest(images.digest, indices.astype(np.int64).tobytes())
        self.classes, self.remarks = images.classes, images.remarks

    def __len__(self) -> int:
        return len(self._indices)

    def pixels(self, indices: Sequence[int] | Indices, size: int) -> Pixels:
        """See ImageSet."""
        return self._images.pixels(self._indices[np.asarray(indices, dtype=np.int64)], size)


class Relabelled:
    """Images under other labels and class names; the digest is another where a label is."""

    def __init__(self, images: ImageSet, labels: Indices, classes: Sequence[str], remarks: Sequence[str] = ()) -> None:
        self._images, self.source = images, images.source
        self.labels: Indices | None = labels
        same = images.labels is not None and np.array_equal(labels, images.labels)
        self.digest = images.digest if same else digest(images.digest, "labels", labels.tobytes())
        self.classes, self.remarks = tuple(classes), (*images.remarks, *remarks)

    def __len__(self) -> int:
        return len(self._images)

    def pixels(self, indices: Sequence[int] | Indices, size: int) -> Pixels:
        """See ImageSet."""
        return self._images.pixels(indices, size)


class KeptImages:
    """A set whose decoded and resized images are kept on disk as raw uint8, each when it is first asked for."""

    def __init__(self, images: ImageSet, folder: Path) -> None:
        self._images, self._folder, self._maps = images, folder, dict[int, tuple[Any, Any]]()
        self.source, self.digest, self.labels = images.source, images.digest, images.labels
        self.classes, self.remarks = images.classes, images.remarks

    def __len__(self) -> int:
        return len(self._images)

    def pixels(self, indices: Sequence[int] | Indices, size: int) -> Pixels:
        """See ImageSet."""
        chosen = np.asarray(indices, dtype=np.int64)
        try:
            kept, done = self._open(size)
        except OSError:  # a full or read-only disk: decode every time
            return self._images.pixels(chosen, size)
        missing = np.unique(chosen[done[chosen] == 0])
        if len(missing):
            kept[missing] = self._images.pixels(missing, size)
            kept.flush()
            done[missing] = 1  # after the pixels are on disk, so that a crash leaves no half image
        return np.asarray(kept[chosen])

    def _open(self, size: int) -> tuple[Any, Any]:
        if size not in self._maps:
            stem = self._folder / f"{self.digest}-{size}"
            self._folder.mkdir(parents=True, exist_ok=True)
            self._maps[size] = (
                self._map(stem.with_suffix(".pixels"), (len(self), size, size, 3)),
                self._map(stem.with_suffix(".done"), (len(self),)),
            )
        return self._maps[size]

    @staticmethod
    def _map(path: Path, shape: tuple[int, ...]) -> Any:
        if not path.exists() or path.stat().st_size != int(np.prod(shape)):
            with atomic_path(path) as temporary, temporary.open("wb") as stream:
                stream.truncate(int(np.prod(shape)))  # sparse: takes room only as it fills
        return np.memmap(path, dtype=np.uint8, mode="r+", shape=shape)


class GeneratedImages:
    """Images made from a seed; image i depends on (seed, i) alone."""

    labels: Indices | None = None
    classes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def __init__(self, generator: str, seed: int, count: int) -> None:
        self.source = f"{generator} (seed {seed})"
        self.digest = digest("generated", generator, str(seed), str(count))
        self._make, self._seed, self._count = GENERATORS[generator], seed, count

    def __len__(self) -> int:
        return self._count

    def pixels(self, indices: Sequence[int] | Indices, size: int) -> Pixels:
        """See ImageSet."""
        made = [self._make(np.random.default_rng([self._seed, int(index)]), size) for index in indices]
        return stack(made, size)


def in_memory(images: ImageSet, size: int) -> ImageSet:
    """Return `images` decoded once at `size`, when they need at most 2 GiB; else as they are."""
    if isinstance(images, ArrayImages) or len(images) * size * size * 3 > 2 << 30:
        return images
    held = np.empty((len(images), size, size, 3), np.uint8)
    for start in range(0, len(images), 256):  # in blocks: decoding may need several times the memory of the pixels
        stop = min(start + 256, len(images))
        held[start:stop] = images.pixels(range(start, stop), size)
    return ArrayImages(
        images.source, images.digest, held, images.labels, classes=images.classes, remarks=images.remarks
    )


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


def sample(images: ImageSet, count: int | None, seed: int = 0) -> ImageSet:
    """Return `count` of the images, as `stratified` draws them: of one seed, fewer are among more. None returns all."""
    if count is None or count >= len(images):
        return images
    return Subset(images, stratified(images.labels, len(images), count, seed))


def per_class(labels: Indices, count: int, seed: int = 0) -> Indices:
    """Return the indices, sorted, of at most `count` images of each class; seeded."""
    order = np.random.default_rng(seed).permutation(len(labels))
    chosen = [order[labels[order] == label][:count] for label in np.unique(labels)]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def file_stamps(folder: Path, files: Sequence[Path]) -> str:
    """Return a digest of the files' names, sizes and times of change."""
    stats = [(file, file.stat()) for file in files]
    return digest(*(f"{os.path.relpath(file, folder)} {stat.st_size} {stat.st_mtime_ns}" for file, stat in stats))


def damaged(file: Path) -> str | None:
    """Return what is wrong with an image file, None when it looks whole. Reads as little of it as that takes."""
    try:
        with Image.open(file) as image:
            kind = image.format
            image.verify()
        if kind == "JPEG":
            with file.open("rb") as stream:
                stream.seek(-2, os.SEEK_END)
                whole = stream.read() == b"\xff\xd9"
            if not whole:  # cut off, or something harmless was appended: only decoding tells
                with Image.open(file) as image:
                    image.load()
    except _DECODING as error:
        return str(error) or type(error).__name__
    return None


def stack(images: Sequence[Pixels], size: int) -> Pixels:
    """Return (k, size, size, 3) of k images."""
    return np.stack(images) if images else np.zeros((0, size, size, 3), np.uint8)
