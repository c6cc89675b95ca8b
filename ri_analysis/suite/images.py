"""Sets of images: arrays, files, rows of tables and generated ones, all read as uint8 at the model's size."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image

from ri_analysis import limits
from ri_analysis.caches import read_note, write_note
from ri_analysis.errors import InputError, listing, one_message
from ri_analysis.files import atomic_path, digest
from ri_analysis.suite.decoding import Look, look, open_image, to_rgb, upright
from ri_analysis.suite.file_stamps import FileStamps
from ri_analysis.suite.generators import GENERATORS, Pixels
from ri_analysis.suite.listing import counted_as
from ri_analysis.suite.preprocessing import Preprocessing, fit

Indices = npt.NDArray[np.int64]
CLIP = Preprocessing()
_LIMITS = ("pixels", "image-bytes", "image-scans", "image-tags")  # what is skipped depends on them


class ImageSet(Protocol):
    """Some images, with labels or without.

    `labels` is (n,) int64 or None, `digest` names the content, `source` is what errors call it. `classes` are the class
    names that the data itself gives, by label (empty when it gives none). `remarks` are whole sentences, each naming
    the file, about what was left out or read differently from what a user would expect.
    """

    source: str
    digest: str
    labels: Indices | None
    classes: tuple[str, ...]
    remarks: tuple[str, ...]

    def __len__(self) -> int: ...

    def __hash__(self) -> int: ...

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
    """Image files, decoded when they are asked for, as torchvision decodes them: EXIF does not turn them.

    They are looked at first: those that can't be decoded are left out, with their labels. `memory` is a folder that
    keeps what was found while the files do not change. Raises InputError for a file that can't be opened, for one whose
    values have no known range, and where none is left.
    """

    def __init__(
        self,
        folder: Path,
        files: Sequence[Path],
        labels: Indices | None,
        how: Preprocessing,
        classes: Sequence[str] = (),
        memory: Path | None = None,
        remarks: Sequence[str] = (),
    ) -> None:
        stamps, names = FileStamps.of(folder, files, memory), [os.path.relpath(file, folder) for file in files]
        seen = Looks(str(folder), stamps.digest, names, lambda index: _opened(files[index]), memory, turn=False)
        self.source, self._how, self.classes = str(folder), how, tuple(classes)
        self._stamps = stamps.select(seen.whole)
        self.labels = None if labels is None else labels[seen.whole]
        self.remarks = (*remarks, *seen.remarks)
        skipped = sorted(names[index] for index in seen.skipped)
        self.digest = digest(stamps.digest, *skipped, how.digest, *seen.reading)

    def __len__(self) -> int:
        return len(self._stamps.files)

    def pixels(self, indices: Sequence[int] | Indices, size: int) -> Pixels:
        """See ImageSet. Raises InputError naming a file that is not an image, ChangedFile for one that changed."""
        return stack([self._decode(index, size) for index in indices], size)

    def _decode(self, index: int, size: int) -> Pixels:
        file = self._stamps.files[index]
        try:
            with _opened(file) as stream:
                return fit(_decoded(stream, str(file), turn=False), size, self._how)
        finally:  # also where it can't be decoded: that it changed is what is wrong
            self._stamps.check([index])


class EncodedImages:
    """Encoded images from a table, decoded as Hugging Face `datasets` decodes them: EXIF turns them.

    `content` names the table's content, `read` returns the bytes of one row. What FileImages says holds for rows.
    """

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
        memory: Path | None = None,
    ) -> None:
        rows = len(labels) if labels is not None else count
        names = [f"row {index}" for index in range(rows)]
        seen = Looks(source, content, names, lambda index: io.BytesIO(read(index)), memory, turn=True)
        self.source, self._read, self._how, self._rows = source, read, how, seen.whole
        self.classes, self.remarks = tuple(classes), (*remarks, *seen.remarks)
        self.labels = None if labels is None else labels[seen.whole]
        self.digest = digest(content, how.digest, *(names[row] for row in seen.skipped), *seen.reading)

    def __len__(self) -> int:
        return len(self._rows)

    def pixels(self, indices: Sequence[int] | Indices, size: int) -> Pixels:
        """See ImageSet. Raises InputError naming a row that is not an image."""
        return stack([self._decode(int(self._rows[index]), size) for index in indices], size)

    def _decode(self, row: int, size: int) -> Pixels:
        stream = io.BytesIO(self._read(row))
        return fit(_decoded(stream, f"{self.source}: row {row}", turn=True), size, self._how)


class Looks:
    """What `look` found in each image of a set: `whole` are the indices of those to read, `skipped` the others.

    `turn` says whether the set turns its images as EXIF says.
    """

    def __init__(
        self,
        source: str,
        content: str,
        names: Sequence[str],
        opened: Callable[[int], IO[bytes]],
        memory: Path | None,
        *,
        turn: bool,
    ) -> None:
        self._source, self._names, self._turn = source, names, turn
        most = [f"{name} {limits.limit(name)}" for name in _LIMITS if limits.changed(name)]
        self._found = self._kept(digest("look", "1", PIL.__version__, content, *most), opened, memory)
        self.skipped = [index for index, item in self._found.items() if item.damage or item.large]
        self.whole = np.setdiff1d(np.arange(len(names)), self.skipped)
        self._refuse()

    @property
    def reading(self) -> tuple[str, ...]:
        """Names what is read differently from earlier versions, whose answers do not hold for it."""
        scaled = any(item.kind in ("16 bits", "floats") for item in self._found.values())
        turned = self._turn and any(item.turned for item in self._found.values())
        return ("scaled",) * scaled + ("turned",) * turned

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was left out and what was read differently from what one might expect."""
        high = max((item.high for item in self._found.values() if item.kind == "16 bits"), default=0)
        said: list[tuple[Callable[[Look], object], str, str]] = [
            (lambda item: item.damage, "damaged image", "skipped"),
            (lambda item: item.large, "image", f"of {limits.beyond('pixels')} skipped"),
            (lambda item: item.kind == "16 bits", "image", f"of 16 bits, scaled to 8 (largest value: {high:,.0f})"),
            (lambda item: item.kind == "floats", "image", "of floats from 0 to 1, scaled to 8 bits"),
            (lambda item: item.kind == "32-bit integers", "image", "of 32-bit integers from 0 to 255, read as 8 bits"),
            (
                lambda item: item.turned and not self._turn,
                "image",
                "with an EXIF orientation, left as stored, which is how torchvision reads image folders",
            ),
            (lambda item: item.frames, "image", "of several frames, of which the first is read"),
        ]
        return tuple(
            f"{self._source}: {counted_as(len(names), noun)} {what}: {listing(names, 5)}"
            for which, noun, what in said
            if (names := self._which(which))
        )

    def _which(self, which: Callable[[Look], object]) -> list[str]:
        return [self._names[index] for index, item in sorted(self._found.items()) if which(item)]

    def _kept(self, made_from: str, opened: Callable[[int], IO[bytes]], memory: Path | None) -> Mapping[int, Look]:
        """Return what there is to say, by index; nothing of images that are whole and plain."""
        note = None if memory is None else memory / f"{made_from}.looks.json"
        kept = None if note is None else read_note(note, made_from)
        if kept is not None:
            return {int(index): Look(**fields) for index, fields in kept.items()}
        found = {}
        for index in range(len(self._names)):
            try:
                with opened(index) as stream:
                    item = look(stream)
            except OSError as error:  # the system's, not the image's
                raise InputError(f"{self._source}: {self._names[index]}: can't be read: {error}") from error
            if item != Look():
                found[index] = item
        if note is not None:
            write_note(note, made_from, {str(index): asdict(item) for index, item in found.items()})
        return found

    def _refuse(self) -> None:
        odd = self._which(lambda item: item.no_range)
        if odd:
            what = next(item.no_range for _, item in sorted(self._found.items()) if item.no_range)
            more = f" (and {len(odd) - 1} more images like it)" if len(odd) > 1 else ""
            raise InputError(f"{self._source}: {odd[0]}: {what}{more}")
        if not self._names:
            raise InputError(f"{self._source}: expected images, found none")
        if not len(self.whole):
            what = self._found[0].damage or limits.beyond("pixels")
            first = f"{self._source}: {self._names[0]}"
            raise InputError(f"{first}: expected an image, found: {what}, as for all {len(self._names)} here")


def _decoded(stream: IO[bytes], name: str, *, turn: bool) -> Image.Image:
    """Return an image in RGB, turned as EXIF says where `turn`. Raises InputError with its name."""
    with one_message(name, "an image"), open_image(stream) as image:
        rgb = to_rgb(image)
        return upright(rgb, image) if turn else rgb


def _opened(file: Path) -> IO[bytes]:
    try:
        return file.open("rb")
    except OSError as error:  # no damage of the file's: it is not to be left out
        raise InputError(f"{file}: expected an image that can be opened, found: {error.strerror}") from error


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
    """A set whose decoded and resized images are kept on disk, each when it is first asked for.

    One file holds the images of a set at one size: a header that names both, then for each image a check of 8 bytes
    (none yet: zeros) and its raw uint8. An image that does not fit its check is decoded again, so that neither a crash,
    nor a cut or altered file, nor another process that writes at the same time can change what is read.
    """

    _HEADER = 128  # bytes

    def __init__(self, images: ImageSet, folder: Path) -> None:
        self._images, self._folder = images, folder
        self.source, self.digest, self.labels = images.source, images.digest, images.labels
        self.classes, self.remarks = images.classes, images.remarks

    def __len__(self) -> int:
        return len(self._images)

    def pixels(self, indices: Sequence[int] | Indices, size: int) -> Pixels:
        """See ImageSet."""
        chosen = np.asarray(indices, dtype=np.int64)
        try:
            with self._file(size).open("r+b", buffering=0) as stream:
                return self._read(stream, chosen, size)
        except OSError:  # a full or read-only disk: decode every time
            return self._images.pixels(chosen, size)

    def _read(self, stream: IO[bytes], chosen: Indices, size: int) -> Pixels:
        found = np.empty((len(chosen), size, size, 3), np.uint8)
        whole = np.array([self._load(stream, int(index), image) for index, image in zip(chosen, found, strict=True)])
        if len(chosen) and not whole.all():
            missing = np.unique(chosen[~whole])
            made = self._images.pixels(missing, size)
            found[~whole] = made[np.searchsorted(missing, chosen[~whole])]
            with suppress(OSError):
                for index, image in zip(missing, made, strict=True):
                    stream.seek(self._place(int(index), size))
                    stream.write(_check(int(index), image) + image.tobytes())
        return found

    def _load(self, stream: IO[bytes], index: int, image: Pixels) -> bool:
        """Read an image into `image`; return whether it fits its check."""
        stream.seek(self._place(index, image.shape[0]))
        check = stream.read(8)
        return stream.readinto(image.data) == image.nbytes and check == _check(index, image)  # type: ignore[attr-defined]

    def _place(self, index: int, size: int) -> int:
        return self._HEADER + index * (8 + size * size * 3)

    def _file(self, size: int) -> Path:
        """Return the file of this set at one size, made again where the file is another."""
        path = self._folder / f"{self.digest}-{size}.images"
        header = f"ri-analysis images 1, {self.digest}, {len(self)} × {size}".encode().ljust(self._HEADER)
        length = self._place(len(self), size)
        if not path.is_file() or path.stat().st_size != length or not _begins(path, header):
            with atomic_path(path) as temporary, temporary.open("wb") as stream:
                stream.write(header)
                stream.truncate(length)  # sparse: takes room only as it fills
            for suffix in (".pixels", ".done"):  # what earlier versions kept of it
                path.with_suffix(suffix).unlink(missing_ok=True)
        return path


def _begins(path: Path, header: bytes) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(header)) == header


def _check(index: int, image: Pixels) -> bytes:
    """Return 8 bytes, never all zero, that tell whether these are the pixels of image `index`."""
    return (1 << 32 | zlib.crc32(image.data, index)).to_bytes(8, "little")


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


def in_memory(images: ImageSet, size: int, most: int = 2 << 30) -> ImageSet:
    """Return `images` decoded once at `size`, when they need at most `most` bytes; else as they are."""
    if isinstance(images, ArrayImages) or len(images) * size * size * 3 > most:
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


def stack(images: Sequence[Pixels], size: int) -> Pixels:
    """Return (k, size, size, 3) of k images."""
    return np.stack(images) if images else np.zeros((0, size, size, 3), np.uint8)
