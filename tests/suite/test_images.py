"""Images of every kind a folder or a table may hold: read as the peers read them, or named."""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import torchvision
from PIL import Image, ImageOps
from torchvision.datasets.folder import pil_loader
from torchvision.transforms import v2

from ri_analysis.engine import Evaluator
from ri_analysis.errors import InputError
from ri_analysis.files import digest
from ri_analysis.suite import decoding, open_suite
from ri_analysis.suite import images as sets
from ri_analysis.suite.data import read_images
from ri_analysis.suite.decoding import Look, look, open_image, to_rgb
from ri_analysis.suite.file_stamps import FileStamps
from ri_analysis.suite.images import ArrayImages, FileImages, ImageSet, KeptImages
from ri_analysis.suite.preprocessing import Preprocessing, fit

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (24, 37, 3), dtype=np.uint8)
GREY = RANDOM.integers(0, 256, (24, 37), dtype=np.uint8)


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *, late: bytes = b"") -> bytes:
    """A PNG by hand; `late` are chunks behind the pixels."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), late, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def tiff(data: bytes, width: int, bits: int, *, kind: int = 1, zero: int = 1) -> bytes:
    """A TIFF of one row by hand: `kind` 1 unsigned, 2 signed, 3 float; `zero` 1 black, 0 white."""
    tags = [(256, width), (257, 1), (258, bits), (259, 1), (262, zero), (273, 8), (277, 1), (278, 1), (279, len(data))]
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in [*tags, (339, kind)])
    padded = data + b"\0" * (len(data) % 2)
    return b"II*\0" + struct.pack("<I", 8 + len(padded)) + padded + struct.pack("<H", 10) + entries + b"\0" * 4


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def put(path: Path, content: bytes | Image.Image | np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = Image.fromarray(content) if isinstance(content, np.ndarray) else content
    path.write_bytes(encoded(content) if isinstance(content, Image.Image) else content)
    return path


def opened(folder: Path, memory: Path | None = None, *, labelled: bool = False) -> ImageSet:
    return read_images(folder, labelled=labelled, memory=memory)


def first_row(images: ImageSet, width: int, index: int = 0) -> list[int]:
    """The red values of an image of one row, cut to its middle: `width` is the row's length."""
    assert isinstance(images, FileImages)
    with open_image(images._stamps.files[index]) as image:
        return np.asarray(to_rgb(image))[0, :width, 0].tolist()


def table(folder: Path, rows: list[bytes | None], labels: list[int] | None = None) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"image": [{"bytes": row, "path": None} for row in rows], "label": labels or [0] * len(rows)}
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / "test.parquet")
    return folder / "test.parquet"


# --- as torchvision reads them ------------------------------------------------------------------------------------


def _palette() -> Image.Image:
    image = Image.fromarray(COLOURS).quantize(17)
    image.info["transparency"] = 3
    return image


def _modes() -> dict[str, bytes]:
    rgba = Image.fromarray(np.dstack([COLOURS, GREY]))
    exif = Image.Exif()
    exif[274] = 6
    rgb, grey = Image.fromarray(COLOURS), Image.fromarray(GREY)
    return {
        "rgb.png": encoded(rgb),
        "grey.png": encoded(grey),
        "bits.png": encoded(grey.convert("1")),
        "two-bits.png": png(4, 1, 2, 0, b"\0\x1b"),
        "grey-alpha.png": encoded(rgba.convert("LA")),
        "alpha.png": encoded(rgba),
        "palette.png": encoded(_palette()),
        "16-bit-colour.png": png(2, 1, 16, 2, b"\0" + bytes(range(100, 112))),
        "photo.jpg": encoded(rgb, "JPEG"),
        "grey.jpeg": encoded(grey, "JPEG"),
        "print.jpg": encoded(rgb.convert("CMYK"), "JPEG"),
        "turned.jpg": encoded(rgb, "JPEG", exif=exif),
        "old.jfif": encoded(rgb, "JPEG"),
        "alpha.webp": encoded(rgba, "WEBP", lossless=True),
        "turned.webp": encoded(rgb, "WEBP", exif=exif),
        "drawing.gif": encoded(_palette(), "GIF"),
        "scan.bmp": encoded(rgb, "BMP"),
        "scan.tif": encoded(rgb, "TIFF"),
        "turned.tif": encoded(rgb, "TIFF", exif=exif),
        "lab.tiff": encoded(rgb.convert("YCbCr"), "TIFF"),
        "print.tiff": encoded(rgb.convert("CMYK"), "TIFF", compression="tiff_lzw"),
        "white-is-zero.tif": tiff(bytes([0, 100, 255, 7]), 4, 8, zero=0),
        "plain.ppm": encoded(rgb, "PPM"),
        "plain.pgm": encoded(grey, "PPM"),
        "plain.pnm": b"P2 2 1 100\n0 50\n",
        "plain.pbm": encoded(grey.convert("1"), "PPM"),
        "plain.jp2": encoded(rgb, "JPEG2000"),
    }


def _version(module: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in module.__version__.split(".")[:2])


@pytest.mark.parametrize("name", _modes())
@pytest.mark.parametrize("size", [8, 30])
def test_images_of_8_bits_are_read_as_torchvision_reads_them(tmp_path: Path, name: str, size: int) -> None:
    if name == "lab.tiff" and _version(PIL) < (13, 0):
        pytest.skip("older ones do not read such a TIFF")
    path = put(tmp_path / "set" / name, _modes()[name])
    prepare = v2.Compose([v2.Resize(size, v2.InterpolationMode.BICUBIC), v2.CenterCrop(size)])
    expected = np.asarray(prepare(pil_loader(path)))
    assert np.array_equal(opened(path.parent).pixels([0], size)[0], expected)


def test_avif_is_read_where_pillow_can(tmp_path: Path) -> None:
    if "AVIF" not in decoding._formats():
        pytest.skip("this Pillow has no AVIF")
    path = put(tmp_path / "set" / "x.avif", encoded(Image.fromarray(COLOURS), "AVIF"))
    assert np.array_equal(opened(path.parent).pixels([0], 24)[0], fit(pil_loader(path), 24))


# --- more than 8 bits ---------------------------------------------------------------------------------------------

DEEP = [0, 255, 256, 32767, 32768, 65535]
HIGH_BYTES = [0, 0, 1, 127, 128, 255]  # by hand: the quotient by 256


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.png", png(6, 1, 16, 0, b"\0" + struct.pack(">6H", *DEEP))),
        ("x.tif", tiff(struct.pack("<6H", *DEEP), 6, 16)),
        ("x.pgm", b"P5 6 1 65535\n" + struct.pack(">6H", *DEEP)),
        ("x.tiff", encoded(Image.fromarray(np.array([DEEP], np.uint16)), "TIFF", compression="tiff_lzw")),
        ("x.jp2", encoded(Image.fromarray(np.array([DEEP], np.uint16)), "JPEG2000")),
    ],
)
def test_16_bits_become_8_by_their_high_byte(tmp_path: Path, name: str, content: bytes) -> None:
    images = opened(put(tmp_path / "set" / name, content).parent)
    assert first_row(images, 6) == HIGH_BYTES
    said = f"{tmp_path / 'set'}: 1 image of 16 bits, scaled to 8 (largest value: 65,535): {name}"
    assert images.remarks == (said,)
    import torch

    if _version(torchvision) >= (0, 20):  # older ones scale no uint16
        scaled = v2.functional.to_dtype(torch.tensor([DEEP], dtype=torch.uint16), torch.uint8, scale=True)
        assert scaled.tolist() == [HIGH_BYTES]  # torchvision's own scaling
    colour = png(6, 1, 16, 2, b"\0" + struct.pack(">18H", *np.repeat(DEEP, 3)))
    assert first_row(opened(put(tmp_path / "colour" / "x.png", colour).parent), 6) == HIGH_BYTES  # and Pillow's


def test_12_bits_and_fewer_grey_levels(tmp_path: Path) -> None:
    bits = "".join(f"{value:012b}" for value in (0, 15, 16, 2048, 4095, 4095))
    images = opened(put(tmp_path / "set" / "x.tif", tiff(int(bits, 2).to_bytes(9, "big"), 6, 12)).parent)
    assert first_row(images, 6) == [0, 0, 1, 128, 255, 255]  # the quotient by 16
    assert "largest value: 4,095" in images.remarks[0]
    put(tmp_path / "grey" / "x.pgm", b"P5 3 1 1023\n" + struct.pack(">3H", 0, 512, 1023))
    assert first_row(opened(tmp_path / "grey"), 3) == [0, 128, 255]


def test_floats_from_0_to_1_and_small_integers(tmp_path: Path) -> None:
    put(tmp_path / "set" / "a.tif", tiff(struct.pack("<4f", 0, 0.25, 0.5, 1), 4, 32, kind=3))
    put(tmp_path / "set" / "b.tif", tiff(struct.pack("<4I", 0, 3, 128, 255), 4, 32))
    images = opened(tmp_path / "set")
    assert first_row(images, 4) == [0, 64, 128, 255]
    assert first_row(images, 4, 1) == [0, 3, 128, 255]
    assert [remark.partition(": ")[2] for remark in images.remarks] == [
        "1 image of floats from 0 to 1, scaled to 8 bits: a.tif",
        "1 image of 32-bit integers from 0 to 255, read as 8 bits: b.tif",
    ]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (tiff(struct.pack("<2f", 0, 255), 2, 32, kind=3), "floats (mode F) from 0 to 255"),
        (tiff(struct.pack("<2f", -1, 1), 2, 32, kind=3), "floats (mode F) from -1 to 1"),
        (tiff(struct.pack("<2f", 0, float("nan")), 2, 32, kind=3), "floats (mode F) from nan to nan"),
        (tiff(struct.pack("<2I", 0, 65535), 2, 32), "32-bit integers (mode I) from 0 to 65535"),
        (tiff(struct.pack("<2i", -4, 3), 2, 32, kind=2), "32-bit integers (mode I) from -4 to 3"),
        (tiff(struct.pack("<2h", -4, 3), 2, 16, kind=2), "32-bit integers (mode I) from -4 to 3"),
        (tiff(struct.pack("<2b", -4, 3), 2, 8, kind=2), "signed bytes (mode L) from -4 to 3"),
        (tiff(struct.pack("<2H", 0, 3), 2, 16, zero=0), "whose zero is white"),
    ],
)
def test_values_without_a_known_range_are_refused(tmp_path: Path, content: bytes, found: str) -> None:
    put(tmp_path / "set" / "a.png", COLOURS)
    put(tmp_path / "set" / "x.tif", content)
    put(tmp_path / "set" / "y.tif", content)
    with pytest.raises(InputError, match="found ") as error:
        opened(tmp_path / "set")
    assert str(error.value).startswith(f"{tmp_path / 'set'}: x.tif: expected ")
    assert found in str(error.value)
    assert "1 more image" in str(error.value)


# --- orientation --------------------------------------------------------------------------------------------------


def _turned(orientation: int, kind: str = "PNG") -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return encoded(Image.fromarray(COLOURS), kind, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_tables_are_turned_and_folders_are_not(tmp_path: Path, orientation: int, kind: str) -> None:
    content = _turned(orientation, kind)
    with Image.open(io.BytesIO(content)) as image:  # as `datasets` decodes it
        image.load()
        upright = ImageOps.exif_transpose(image).convert("RGB")
    with Image.open(io.BytesIO(content)) as image:  # as torchvision does
        stored = image.convert("RGB")
    rows = opened(table(tmp_path / "table", [content]))
    files = opened(put(tmp_path / "set" / f"x.{kind.lower()}", content).parent)
    assert np.array_equal(rows.pixels([0], 24)[0], fit(upright, 24))
    assert np.array_equal(files.pixels([0], 24)[0], fit(stored, 24))
    turned = orientation > 1 and kind != "TIFF"  # which Pillow turns for everyone
    assert np.array_equal(np.asarray(upright), np.asarray(stored)) is not turned
    said = "1 image with an EXIF orientation, left as stored, which is how torchvision reads image folders"
    assert files.remarks == ((f"{tmp_path / 'set'}: {said}: x.{kind.lower()}",) if turned else ())
    assert rows.remarks == ()
    source = tmp_path / "table" / "test.parquet"
    plain = digest(digest(FileStamps.of(source.parent, [source]).digest), "")
    assert (rows.digest == plain) is not turned  # answers kept of turned images are not taken for those of unturned


def test_an_orientation_behind_the_pixels_is_found(tmp_path: Path) -> None:
    exif = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 274, 3, 1, 3, 0) + b"\0\0\0\0"
    content = png(3, 1, 8, 0, b"\0\1\2\3", late=chunk(b"eXIf", exif))
    assert look(io.BytesIO(content)) == Look(turned=True)
    rows = opened(table(tmp_path / "table", [content]))
    assert rows.pixels([0], 1)[0, 0, 0].tolist() == [2, 2, 2]
    assert rows.digest != opened(table(tmp_path / "other", [png(3, 1, 8, 0, b"\0\1\2\3")])).digest


def test_an_unreadable_orientation_is_none(tmp_path: Path) -> None:
    content = encoded(Image.fromarray(COLOURS), "JPEG", exif=b"Exif\0\0broken")
    assert look(io.BytesIO(content)) == Look()
    assert len(opened(table(tmp_path / "table", [content])).pixels([0], 8)) == 1


# --- damage -------------------------------------------------------------------------------------------------------

FORMATS = ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000"]
SUFFIX = {"JPEG2000": "jp2", "TIFF": "tif", "JPEG": "jpg"}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.97])
def test_cut_images_are_found_when_the_set_is_opened(tmp_path: Path, kind: str, share: float) -> None:
    whole = encoded(Image.fromarray(RANDOM.integers(0, 256, (64, 64, 3), dtype=np.uint8)), kind)
    suffix, cut = SUFFIX.get(kind, kind.lower()), whole[: int(len(whole) * share)]
    put(tmp_path / "set" / "a" / f"1.{suffix}", cut)
    put(tmp_path / "set" / "b" / f"2.{suffix}", whole)
    images = opened(tmp_path / "set", labelled=True)
    assert images.remarks == (f"{tmp_path / 'set'}: 1 damaged image skipped: a/1.{suffix}",)
    assert images.labels is not None
    assert images.labels.tolist() == [1]
    assert images.pixels([0], 8).shape == (1, 8, 8, 3)
    rows = opened(table(tmp_path / "table", [whole, cut, whole], [4, 5, 6]), labelled=True)
    assert rows.remarks == (f"{tmp_path / 'table' / 'test.parquet'}: 1 damaged image skipped: row 1",)
    assert rows.labels is not None
    assert (rows.labels.tolist(), len(rows)) == ([4, 6], 2)
    assert np.array_equal(rows.pixels([1], 8), images.pixels([0], 8))


@pytest.mark.parametrize("rows", [[b""], [b"no image", b"neither"]])
def test_where_nothing_can_be_read_the_first_is_named(tmp_path: Path, rows: list[bytes]) -> None:
    message = f"row 0: expected an image, found: not an image in a supported format, as for all {len(rows)} here"
    with pytest.raises(InputError, match=message):
        opened(table(tmp_path / "table", list(rows)))


def test_rows_without_an_image_are_named_when_the_table_is_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 1 holds no image itself"):
        opened(table(tmp_path / "table", [encoded(Image.fromarray(COLOURS)), None]))


def test_a_damaged_table_is_named_when_it_is_opened(tmp_path: Path) -> None:
    path = table(tmp_path / "table", [encoded(Image.fromarray(COLOURS)) for _ in range(3)])
    content = bytearray(path.read_bytes())
    content[4:30] = b"\xff" * 26  # the header of the first page
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"test\.parquet: expected a whole Hugging Face data set, found damaged data"):
        opened(path)


def test_a_file_that_cannot_be_opened_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "set" / "x.png", COLOURS)
    put(tmp_path / "set" / "y.png", COLOURS)
    real = Path.open

    def refused(self: Path, *arguments: Any, **options: Any) -> Any:
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(InputError, match=r"x\.png: expected an image that can be opened, found: Permission denied"):
        opened(tmp_path / "set")


def test_flipped_bytes_never_escape_as_another_error() -> None:
    """Every error that Pillow raised for 200,000 images damaged at random is one of DECODING; here are some more."""
    image = Image.fromarray(RANDOM.integers(0, 256, (20, 15, 3), dtype=np.uint8))
    for kind in [*FORMATS, *(["AVIF"] if "AVIF" in decoding._formats() else [])]:
        whole = encoded(image, kind)
        for _ in range(60):
            content = bytearray(whole)
            for place in RANDOM.integers(0, min(len(whole), 300), 2):
                content[place] = RANDOM.integers(256)
            found = look(io.BytesIO(content))
            if found.damage or found.large or found.no_range:
                continue
            try:
                with open_image(io.BytesIO(content)) as opened_again:
                    assert to_rgb(opened_again).mode == "RGB"
            except decoding.DECODING:
                assert kind == "JPEG"  # whose middle is not looked at


# --- what must not be opened --------------------------------------------------------------------------------------


def test_an_eps_named_png_does_not_start_ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import EpsImagePlugin

    drawing = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    with Image.open(io.BytesIO(drawing)) as image:
        assert image.format == "EPS"  # Pillow by itself takes it
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was started"))
    put(tmp_path / "set" / "x.png", drawing)
    put(tmp_path / "set" / "y.png", COLOURS)
    images = opened(tmp_path / "set")
    assert images.remarks == (f"{tmp_path / 'set'}: 1 damaged image skipped: x.png",)
    assert opened(table(tmp_path / "t", [drawing, encoded(Image.fromarray(GREY))])).remarks[0].endswith("row 0")


@pytest.mark.parametrize("sides", [(60_000, 60_000), (30_000, 3_000), (89_478_486, 1)])
def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path, sides: tuple[int, int]) -> None:
    put(tmp_path / "set" / "bomb.png", png(*sides, 8, 0, b"\0" * 1000))
    put(tmp_path / "set" / "good.png", COLOURS)
    images = opened(tmp_path / "set")
    assert len(images) == 1
    assert images.remarks == (
        f"{tmp_path / 'set'}: 1 image of more than 89,478,485 pixels (RI_ANALYSIS_LIMITS=pixels=N allows more) "
        "skipped: bomb.png",
    )
    (tmp_path / "set" / "good.png").unlink()
    with pytest.raises(InputError, match=r"bomb\.png: expected an image, found: more than 89,478,485 pixels"):
        opened(tmp_path / "set")


@pytest.mark.parametrize(("width", "height"), [(1, 60_000), (60_000, 1), (2, 50_001)])
def test_a_long_strip_takes_no_memory(tmp_path: Path, width: int, height: int) -> None:
    strip = np.full((height, width, 3), 7, np.uint8)
    middle = slice(max(height, width) // 2 - 4, max(height, width) // 2 + 4)
    if height > width:
        strip[middle] = 200
    else:
        strip[:, middle] = 200
    images = opened(put(tmp_path / "set" / "x.png", strip).parent)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = images.pixels([0], 224)[0]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB; the whole would be 9 GB
    assert (found == 200).all()


def test_the_part_of_a_strip_is_the_part_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    strip = Image.fromarray(RANDOM.integers(80, 170, (301, 5, 3), dtype=np.uint8))
    whole = fit(strip, 16, Preprocessing()).astype(int)
    monkeypatch.setenv("RI_ANALYSIS_LIMITS", "pixels=1000")
    assert abs(fit(strip, 16, Preprocessing()).astype(int) - whole).max() <= 1  # another order of rounding


@pytest.mark.parametrize("shape", [(3, 0, 0), (2, 4, 0, 3), (2, 0, 4, 3)])
def test_arrays_without_pixels_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="h > 0 and w > 0"):
        ArrayImages("x.npz", "", np.zeros(shape, np.uint8), None)


# --- which files --------------------------------------------------------------------------------------------------


def test_what_is_no_image_is_counted_by_kind(tmp_path: Path) -> None:
    put(tmp_path / "cat" / "1.png", COLOURS)
    for name in ("cat/2.svg", "cat/3.svg", "dog/1.npy", "dog/2.heic", "dog/README", "dog/4.SVG"):
        put(tmp_path / name, b"something")
    for name in (".DS_Store", "cat/Thumbs.db", "dog/desktop.ini", "dog/.hidden.txt", "cat/.ipynb_checkpoints/1.png"):
        put(tmp_path / name, b"nothing to say of it")
    put(tmp_path / "dog" / "._1.png", b"of macOS")
    put(tmp_path / "beside.png", COLOURS)
    put(tmp_path / "meta.json", b"{}")
    images = opened(tmp_path, labelled=True)
    assert len(images) == 1
    assert images.remarks == (
        f"{tmp_path}: left out 6 files of kinds that are not read (1 .heic, 1 .npy, 3 .svg, 1 without a suffix): "
        "cat/2.svg, cat/3.svg, dog/1.npy, dog/2.heic, dog/4.SVG and 1 more",
        f"{tmp_path}: left out 1 hidden image: dog/._1.png",
        f"{tmp_path}: left out 1 image beside the class folders: beside.png",
    )


def test_a_folder_of_other_files_says_so(tmp_path: Path) -> None:
    put(tmp_path / "cat" / "1.svg", b"")
    with pytest.raises(
        InputError, match=r"found none; left out 1 file of kinds that are not read \(1 \.svg\): cat/1\."
    ):
        opened(tmp_path, labelled=True)
    with pytest.raises(InputError, match=r"found none; left out 1 file"):
        opened(tmp_path)


def test_linked_folders_are_followed_as_torchvision_does(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    put(tmp_path / "store" / "more" / "2.png", COLOURS)
    put(tmp_path / "store" / "dog" / "3.png", COLOURS)
    put(tmp_path / "set" / "cat" / "1.png", COLOURS)
    put(tmp_path / "set" / "cat" / "deep.png" / "4.png", COLOURS)  # a folder
    (tmp_path / "set" / "cat" / "more").symlink_to(tmp_path / "store" / "more")
    (tmp_path / "set" / "dog").symlink_to(tmp_path / "store" / "dog")
    (tmp_path / "set" / "dog" / "5.png").symlink_to(tmp_path / "store" / "more" / "2.png")
    images = opened(tmp_path / "set", labelled=True)
    assert isinstance(images, FileImages)
    assert images.labels is not None
    found = sorted(zip(map(str, images._stamps.files), images.labels.tolist(), strict=True))
    assert found == sorted(ImageFolder(str(tmp_path / "set")).samples)
    assert images.remarks == ()


def test_links_in_circles_and_to_nothing(tmp_path: Path) -> None:
    put(tmp_path / "set" / "cat" / "1.png", COLOURS)
    put(tmp_path / "set" / "cat" / "b" / "2.png", COLOURS)
    put(tmp_path / "set" / "dog" / "3.png", COLOURS)
    (tmp_path / "set" / "cat" / "a").symlink_to(tmp_path / "set" / "cat" / "b")
    (tmp_path / "set" / "cat" / "up").symlink_to("..")
    (tmp_path / "set" / "cat" / "b" / "self").symlink_to(".")
    (tmp_path / "set" / "cow").symlink_to(".")
    (tmp_path / "set" / "dog" / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "set" / "dog" / "pipe.png")
    images = opened(tmp_path / "set", labelled=True)
    assert images.labels is not None
    assert images.labels.tolist() == [0, 0, 2]
    assert [remark.partition(": ")[2] for remark in images.remarks] == [
        "left out 2 links to no file: dog/gone.png, dog/pipe.png",
        "left out 4 linked folders, read already or around the link: cat/a, cat/b/self, cat/up, cow",
    ]
    nest = tmp_path / "nest" / "0"
    for level in range(40):  # 2⁴⁰ ways to the bottom
        folder = tmp_path / "nest" / str(level)
        folder.mkdir(parents=True)
        for name in "ab":
            (folder / name).symlink_to(tmp_path / "nest" / str(level + 1))
    put(tmp_path / "nest" / "40" / "x.png", COLOURS)
    assert len(opened(nest)) == 1


def test_several_frames_are_remarked(tmp_path: Path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    put(tmp_path / "a.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    put(tmp_path / "b.tif", encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    put(tmp_path / "c.png", encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]))
    put(tmp_path / "d.png", frames[0])
    put(tmp_path / "e.jpg", encoded(frames[0], "MPO", save_all=True, append_images=frames[1:]))
    images = opened(tmp_path)
    said = f"{tmp_path}: 4 images of several frames, of which the first is read: a.gif, b.tif, c.png, e.jpg"
    assert images.remarks == (said,)
    found, expected = images.pixels(range(5), 8), fit(frames[0], 8)
    assert all(np.array_equal(image, expected) for image in found[:4])
    assert np.array_equal(found[4], fit(pil_loader(tmp_path / "e.jpg"), 8))


def test_digests_of_plain_sets_are_those_of_earlier_versions(tmp_path: Path) -> None:
    files = [put(tmp_path / "set" / f"{index}.png", COLOURS) for index in range(2)]
    (tmp_path / "set" / "2.png").write_bytes(b"")
    stamps = FileStamps.of(tmp_path / "set", [*files, tmp_path / "set" / "2.png"]).digest
    assert opened(tmp_path / "set").digest == digest(stamps, "2.png", "")
    path = table(tmp_path / "table", [encoded(Image.fromarray(COLOURS))])
    assert opened(path).digest == digest(digest(FileStamps.of(path.parent, [path]).digest), "")
    put(tmp_path / "set" / "1.png", png(1, 1, 16, 0, b"\0\0\1"))  # read otherwise than before
    assert opened(tmp_path / "set").digest != digest(
        FileStamps.of(tmp_path / "set", sorted((tmp_path / "set").iterdir())).digest
    )


# --- caches -------------------------------------------------------------------------------------------------------

SIZE = 6


def _kept(tmp_path: Path, count: int = 5) -> tuple[Callable[[], ImageSet], np.ndarray, Path]:
    for index in range(count):
        put(tmp_path / "set" / f"{index}.png", RANDOM.integers(0, 256, (9, 9, 3), dtype=np.uint8))
    expected = opened(tmp_path / "set").pixels(range(count), SIZE)
    kept = opened(tmp_path / "set", tmp_path / "memory")
    assert isinstance(kept, KeptImages)
    assert np.array_equal(kept.pixels(range(count), SIZE), expected)
    (cache,) = (tmp_path / "memory").glob("*.images")
    return lambda: opened(tmp_path / "set", tmp_path / "memory"), expected, cache


def _swap(content: bytes) -> bytes:
    record = 8 + SIZE * SIZE * 3
    first, second = content[128 : 128 + record], content[128 + record : 128 + 2 * record]
    return content[:128] + second + first + content[128 + 2 * record :]


HARM: dict[str, Callable[[bytes], bytes | None]] = {
    "deleted": lambda content: None,
    "emptied": lambda content: b"",
    "truncated": lambda content: content[:300],
    "cut by a byte": lambda content: content[:-1],
    "zeros": lambda content: content[:128] + bytes(len(content) - 128),
    "black images with their checks": lambda content: content[:136] + bytes(SIZE * SIZE * 3) + content[244:],
    "one bit": lambda content: content[:200] + bytes([content[200] ^ 4]) + content[201:],
    "a check": lambda content: content[:128] + bytes([content[128] ^ 4]) + content[129:],
    "images swapped": _swap,
    "another set's": lambda content: content.replace(content[22:54], b"0" * 32),
    "noise": lambda content: RANDOM.bytes(len(content)),
}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("while_open", [True, False])
def test_kept_images_that_do_not_fit_their_check_are_made_again(tmp_path: Path, harm: str, while_open: bool) -> None:
    reopen, expected, cache = _kept(tmp_path)
    images, whole = reopen(), cache.read_bytes()
    changed = HARM[harm](whole)
    if changed is None:
        cache.unlink()
    else:
        assert changed != whole
        cache.write_bytes(changed)  # in place
    images = images if while_open else reopen()
    assert np.array_equal(images.pixels([4, 0, 1, 0], SIZE), expected[[4, 0, 1, 0]])
    assert np.array_equal(images.pixels(range(5), SIZE), expected)
    assert cache.read_bytes() == whole  # mended


def test_what_was_kept_before_is_replaced(tmp_path: Path) -> None:
    reopen, expected, cache = _kept(tmp_path)
    cache.unlink()
    old = [cache.with_suffix(".pixels"), cache.with_suffix(".done")]
    old[0].write_bytes(bytes(5 * SIZE * SIZE * 3))
    old[1].write_bytes(b"\1" * 5)
    assert np.array_equal(reopen().pixels(range(5), SIZE), expected)
    assert not any(path.exists() for path in old)


def test_two_readers_share_what_is_kept(tmp_path: Path) -> None:
    reopen, expected, cache = _kept(tmp_path, 40)
    cache.unlink()
    readers = [reopen(), reopen()]

    def read(turn: int) -> bool:
        chosen = np.random.default_rng(turn).permutation(40)[:15]
        return np.array_equal(readers[turn % 2].pixels(chosen, SIZE), expected[chosen])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(40)))
    assert np.array_equal(reopen().pixels(range(40), SIZE), expected)


def test_black_images_are_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "set" / "x.png", np.zeros((9, 9, 3), np.uint8))
    assert not opened(tmp_path / "set", tmp_path / "memory").pixels([0], SIZE).any()
    again = opened(tmp_path / "set", tmp_path / "memory")
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("decoded again"))
    assert not again.pixels([0], SIZE).any()


def test_a_disk_that_takes_nothing_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reopen, expected, cache = _kept(tmp_path)
    cache.unlink()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sets, "atomic_path", full)
    assert np.array_equal(reopen().pixels(range(5), SIZE), expected)


def _note(tmp_path: Path) -> Path:
    (note,) = (tmp_path / "memory").glob("*.looks.json")
    return note


@pytest.mark.parametrize("harm", ["others", "empty", "moved", "cut", "list", "old"])
def test_a_note_on_damage_that_does_not_fit_is_made_again(tmp_path: Path, harm: str) -> None:
    for index in range(4):
        put(tmp_path / "set" / f"{index}.png", COLOURS if index else b"")
        put(tmp_path / "other" / f"{index}.png", COLOURS if index < 3 else b"")
    expected = opened(tmp_path / "set", tmp_path / "memory")
    note = _note(tmp_path)
    content = json.loads(note.read_text())
    assert list(content["value"]) == ["0"]
    if harm == "others":
        note.write_text(json.dumps(content | {"value": {"1": content["value"]["0"]}}))
    elif harm == "empty":
        note.write_text(json.dumps(content | {"value": {}}))
    elif harm == "moved":
        opened(tmp_path / "other", tmp_path / "elsewhere")
        shutil.copy(next((tmp_path / "elsewhere").glob("*.looks.json")), note)
    elif harm == "cut":
        note.write_text(note.read_text()[:40])
    elif harm == "list":
        note.write_text("[1, 2]")
    else:
        (note.with_name(f"{FileStamps.of(tmp_path / 'set', []).digest}.damaged.json")).write_text('["3.png"]')
    found = opened(tmp_path / "set", tmp_path / "memory")
    assert (found.digest, found.remarks, len(found)) == (expected.digest, expected.remarks, 3)
    assert json.loads(note.read_text()) == content


def test_whole_notes_are_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "set" / "x.png", png(1, 1, 16, 0, b"\0\0\1"))
    first = opened(tmp_path / "set", tmp_path / "memory")
    monkeypatch.setattr(sets, "look", lambda _: pytest.fail("looked again"))
    again = opened(tmp_path / "set", tmp_path / "memory")
    assert (again.digest, again.remarks) == (first.digest, first.remarks)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 64  # the sign or size of one weight
    path.write_bytes(content)


def test_built_heads_are_built_again_where_they_were_changed(tiny: Path, tmp_path: Path) -> None:
    from ri_analysis.encoder import load_heads, read_architecture

    tiny.write_text(tiny.read_text().replace('head = "head-Reds.safetensors"\n', ""))
    architecture = read_architecture("model.json", tiny.parent)
    expected = load_heads(open_suite(str(tiny), tmp_path), architecture, ["Reds"])["Reds"].weight
    (path,) = (tmp_path / "heads").glob("*.safetensors")
    whole = path.read_bytes()
    _flip(path)
    assert load_heads(open_suite(str(tiny), tmp_path), architecture, ["Reds"])["Reds"].weight.equal(expected)
    assert path.read_bytes() == whole
    path.with_name(f"{path.name}.seal").unlink()  # as earlier versions left it
    _flip(path)
    assert load_heads(open_suite(str(tiny), tmp_path), architecture, ["Reds"])["Reds"].weight.equal(expected)


def test_statistics_are_made_again_where_they_were_changed(tiny: Path, tmp_path: Path) -> None:
    def merged() -> dict[str, Any]:
        evaluator = Evaluator(open_suite(str(tiny), tmp_path), tmp_path, "cpu")
        recipe = evaluator.recipe("fisher", {"images": 4})
        return {"kept": evaluator.statistics_kept(recipe)} | dict(evaluator.merged(recipe))

    expected = merged()
    assert not expected.pop("kept")
    path = sorted((tmp_path / "statistics").glob("*.safetensors"))[0]
    whole = path.read_bytes()
    _flip(path)
    found = merged()
    assert found.pop("kept")
    assert all(found[name].equal(expected[name]) for name in expected)
    assert path.read_bytes() == whole
    path.with_name(f"{path.name}.seal").unlink()
    assert not merged()["kept"]
