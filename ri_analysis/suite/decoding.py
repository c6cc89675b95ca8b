"""From an encoded image to 8-bit RGB, and what can be told about one before its set is used."""

from __future__ import annotations

import os
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ri_analysis import limits

# Only these are opened, whatever a file is called: Pillow would start Ghostscript for an EPS.
_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".avif"),
)
warnings.filterwarnings("ignore", module=r"PIL\.")  # what is too large or damaged is said here, once

# What Pillow raises for bytes that are no whole image of a kind it reads.
DECODING = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    ZeroDivisionError,
    RuntimeError,
    struct.error,
    zlib.error,
)
_MARKER = re.compile(rb"\xff+([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)  # of a JPEG, with a length behind all but the last
_ORIENTATION, _BITS, _ZERO, _SIGNED = 274, 258, 262, 339  # EXIF's and TIFF's tags
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class TooLarge(ValueError):
    """The image has more pixels, or bytes in its file, than are read."""


class NoRange(ValueError):
    """The image's values have no range that would say how they become 8 bits."""


@dataclass(frozen=True)
class Look:
    """What was found about an encoded image.

    `damage` is why it can't be decoded, `large` that it has more pixels than are read, `no_range` why its values can't
    become 8 bits. `kind` is what they are where they are not 8 bits already, `high` the largest of them. `turned` is
    whether EXIF says that it is to be turned, `frames` whether there are several.
    """

    damage: str = ""
    large: bool = False
    no_range: str = ""
    kind: str = ""
    high: float = 0
    turned: bool = False
    frames: bool = False


def open_image(source: IO[bytes] | Path) -> Image.Image:
    """Open an encoded image or an image file without decoding it.

    Raises TooLarge, or one of DECODING where it is no image of a format that is read.
    """
    Image.MAX_IMAGE_PIXELS = limits.limit("pixels") // 2  # Pillow refuses what has twice as many, of frames too
    try:
        image = Image.open(source, formats=_formats())
    except UnidentifiedImageError:
        raise ValueError("not an image in a supported format") from None
    except Image.DecompressionBombError as error:
        raise TooLarge(limits.beyond("pixels")) from error
    if image.width * image.height > limits.limit("pixels"):
        raise TooLarge(f"{image.width} × {image.height} pixels, {limits.beyond('pixels')}")
    if isinstance(image, JpegImageFile):
        _require_few_scans(image)
    return image


def _require_few_scans(image: JpegImageFile) -> None:
    """Raise ValueError for a JPEG of too many scans: each passes over the whole image, and may be a few bytes long.

    Where the first scan holds the whole image, there is no other, and nothing more is read of the file.
    """
    assert image.fp is not None
    end, length = image.fp.tell(), 6 + 2 * image.layers  # the end and length of the first scan's header
    several = image.format != "JPEG" or image.layers > 3 or "progressive" in image.info
    if not several:  # with four components, a comment could end so that a shorter header looks like a whole one
        image.fp.seek(end - length - 2)
        several = image.fp.read(5) != b"\xff\xda" + length.to_bytes(2, "big") + bytes([image.layers])
    if several:
        image.fp.seek(0)
        most = limits.limit("image-scans")
        if len(list(islice(_scans(image.fp.read()), most + 1))) > most:
            raise ValueError(limits.beyond("image-scans"))
    image.fp.seek(end)


def _scans(data: bytes) -> Iterator[int]:
    """Yield where the headers of a JPEG's scans begin."""
    place = 2
    while (found := _MARKER.search(data, place)) and found[1] != b"\xd9":
        if found[1] == b"\xda":
            yield found.start()
        place = found.end() + max(2, int.from_bytes(data[found.end() : found.end() + 2], "big"))


def _load_tags(self: ImageFileDirectory_v2, fp: IO[bytes]) -> None:
    """Load a directory of tags, of a TIFF or of EXIF. Raises ValueError where they claim more than is read.

    Pillow before 13 reads the data of each tag, and thousands may claim the same bytes.
    """
    place, (count, entry) = fp.tell(), ("Q", "HHQ8s") if self._bigtiff else ("H", "HHL4s")
    whole, one = struct.Struct(self._endian + count), struct.Struct(self._endian + entry)
    head = fp.read(whole.size)
    [number] = whole.unpack(head) if len(head) == whole.size else [0]  # of a short one Pillow says what it says
    claimed = number * one.size
    if claimed <= limits.limit("image-tags"):
        entries = fp.read(claimed)
        found = one.iter_unpack(entries[: len(entries) - len(entries) % one.size])
        known = self._load_dispatch
        claimed += sum(length * known[kind][0] for _, kind, length, _ in found if kind in known)
    if claimed > limits.limit("image-tags"):
        raise ValueError(limits.beyond("image-tags"))
    fp.seek(place)
    _LOAD_TAGS(self, fp)


_LOAD_TAGS = ImageFileDirectory_v2.load
if int(PIL.__version__.partition(".")[0]) < 13:  # later ones bound that themselves
    ImageFileDirectory_v2.load = _load_tags  # type: ignore[method-assign]


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)  # Pillow has AVIF since 11.3


def to_rgb(image: Image.Image) -> Image.Image:
    """Return `image` in 8-bit RGB.

    Modes of 8 bits and less are converted as Pillow does it, so that torchvision's numbers are the same: alpha is
    dropped, a palette looked up. 16 bits (or 12) become 8 by their high byte, as torchvision scales integers and as
    Pillow reads 16-bit colour; floats from 0 to 1 become 0 to 255. 32-bit integers from 0 to 255 stay as they are.
    Raises NoRange for other integers and floats, and one of DECODING for a damaged image.
    """
    image.load()
    kind = _kind(image)
    if kind == "":
        return image if image.mode == "RGB" else image.convert("RGB")
    return Image.fromarray(_to_bytes(np.asarray(image), kind, image)).convert("RGB")


def upright(rgb: Image.Image, original: Image.Image) -> Image.Image:
    """Return `rgb` turned as the EXIF orientation of the decoded image it was made from says."""
    found = _orientation(original)
    return rgb.transpose(_TURNS[found]) if found in _TURNS else rgb


def _orientation(image: Image.Image) -> Any:
    """Return the EXIF orientation; None where there is none, or none that can be read."""
    try:
        return Image.Image.getexif(image).get(_ORIENTATION)  # not the PNG class's own, which decodes the image first
    except DECODING:
        return None


def _kind(image: Image.Image) -> str:
    """Return what an image's values are, empty for at most 8 bits a channel."""
    if image.mode == "F":
        return "floats"
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format != "TIFF"):
        return "16 bits"  # no other format has more; some of Pillow's readers widen them
    if image.mode == "L" and _tags(image).get(_SIGNED) == (2,):
        return "signed bytes"  # which Pillow reads as if they had no sign
    return "32-bit integers" if image.mode == "I" else ""


def _tags(image: Image.Image) -> Mapping[int, Any]:
    """Return a TIFF's tags, none of another format."""
    return getattr(image, "tag_v2", {})


def _to_bytes(values: npt.NDArray[Any], kind: str, image: Image.Image) -> npt.NDArray[np.uint8]:
    values = values.view(np.int8) if kind == "signed bytes" else values
    low, high = values.min(), values.max()
    found = f"{kind} (mode {image.mode}) from {low:g} to {high:g}"
    if _tags(image).get(_ZERO) == 0:
        raise NoRange(f"expected zero to be black, found {found} whose zero is white")
    if kind == "16 bits":
        bits = _tags(image).get(_BITS, (16,))[0]
        return np.asarray(values >> (bits - 8), dtype=np.uint8)
    if kind == "floats" and low >= 0 and high <= 1:
        return np.asarray(np.round(values * 255), dtype=np.uint8)
    if kind == "32-bit integers" and low >= 0 and high <= 255:
        return np.asarray(values, dtype=np.uint8)
    raise NoRange(f"expected 8 or 16 bits, floats from 0 to 1 or integers from 0 to 255, found {found}")


def look(source: IO[bytes]) -> Look:
    """Return what there is to know about an encoded image, reading as little of it as that takes.

    A PNG has checksums, and a JPEG that ends as it should is taken for whole; all others are decoded. Raises OSError
    where the system can't read it.
    """
    try:
        return _look(source)
    except TooLarge:
        return Look(large=True)
    except NoRange as error:
        return Look(no_range=str(error))
    except DECODING as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return Look(damage=reason(error))


def _look(source: IO[bytes]) -> Look:
    if source.seek(0, os.SEEK_END) > limits.limit("image-bytes"):
        raise TooLarge(limits.beyond("image-bytes"))
    source.seek(0)
    with open_image(source) as image:
        found = Look(kind=_kind(image), turned=_is_turned(image), frames=bool(getattr(image, "is_animated", False)))
        if image.format == "PNG":
            image.verify()
            whole = not _late_exif(source)
        else:
            whole = image.format in ("JPEG", "MPO") and _ends(source, b"\xff\xd9")
    if whole and not found.kind:
        return found
    source.seek(0)
    with open_image(source) as image:
        to_rgb(image)
        high = float(np.asarray(image).max()) if found.kind else 0
        return replace(found, high=high, turned=_is_turned(image))


def _is_turned(image: Image.Image) -> bool:
    return _orientation(image) in _TURNS


def _late_exif(png: IO[bytes]) -> bool:
    """Whether a PNG's EXIF may come after its pixels, so that only decoding finds it."""
    png.seek(0)
    data = png.read()
    return 0 <= data.find(b"IDAT") < data.rfind(b"eXIf")


def _ends(source: IO[bytes], mark: bytes) -> bool:
    source.seek(-len(mark), os.SEEK_END)
    return source.read() == mark


def reason(error: Exception) -> str:
    """Return in words why an image could not be decoded."""
    return str(error) or type(error).__name__
