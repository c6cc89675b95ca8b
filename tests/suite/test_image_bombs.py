"""Small images that ask for much work, or much memory."""

from __future__ import annotations

import io
import struct

import PIL
import pytest
from PIL import Image

from ri_analysis import limits
from ri_analysis.suite.decoding import look, open_image, to_rgb


def _segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def _jpeg(scans: int, components: int = 1, *, progressive: bool = True, hidden: bytes = b"") -> bytes:
    """A JPEG of 64 × 64 pixels, or none, in so many scans that say nothing."""
    parts = b"".join(bytes([number + 1, 0x11, 0]) for number in range(components))
    frame = struct.pack(">BHHB", 8, 64, 64, components) + parts
    tables = [_segment(0xDB, b"\0" + b"\1" * 64), _segment(0xC2 if progressive else 0xC0, frame)]
    tables += [_segment(0xC4, bytes([kind, 1, *[0] * 15, 0])) for kind in (0x00, 0x10)]
    scan = _segment(0xDA, bytes([1, 1, 0, 0, 0 if progressive else 63, 0])) + bytes(8)
    return b"\xff\xd8" + b"".join(tables) + hidden + scan * scans + b"\xff\xd9"


@pytest.mark.parametrize(
    "image",
    [
        _jpeg(300),
        _jpeg(300, 3, progressive=False),
        # The end of a comment that looks as if a scan of all four components began there.
        _jpeg(300, 4, progressive=False, hidden=_segment(0xFE, b"\xff\xda\x00\x0e\x04\x00")),
        _jpeg(1)[:-2] + _segment(0xFE, b"\xff\xd9") + _jpeg(300)[2:],
    ],
    ids=["progressive", "apart", "hidden", "behind an end in a comment"],
)
def test_a_jpeg_of_many_scans_is_not_decoded(image: bytes) -> None:
    assert look(io.BytesIO(image)).damage == limits.beyond("image-scans")


def test_jpegs_of_some_scans_are_decoded() -> None:
    assert [look(io.BytesIO(_jpeg(count))).damage for count in (50, 200)] == ["", ""]
    for options in ({"progressive": True}, {}, {"comment": b"\xff\xda" * 500}):
        stream = io.BytesIO()
        Image.effect_mandelbrot((64, 48), (-2, -1, 1, 1), 50).convert("CMYK").save(stream, "JPEG", **options)
        assert look(stream).damage == ""
        with open_image(stream) as image:
            assert to_rgb(image).size == (64, 48)


before_13 = pytest.mark.skipif(int(PIL.__version__.partition(".")[0]) >= 13, reason="Pillow bounds that itself")


@before_13
@pytest.mark.parametrize("count", [1, 200])
def test_tags_that_claim_the_same_bytes_are_not_all_read(count: int) -> None:
    size = 1 << 20
    tags = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    tags += [(277, 3, 1, 1), (278, 4, 1, 8), (279, 4, 1, 64), *((40_000 + n, 7, size, 8) for n in range(count))]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHLL", *tag) for tag in tags) + bytes(4)
    found = look(io.BytesIO(b"II*\0" + struct.pack("<L", 8 + size) + bytes(size) + directory))
    assert found.damage == ("" if count == 1 else limits.beyond("image-tags"))


@before_13
def test_a_directory_that_declares_endless_tags_is_not_read() -> None:
    image = b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 1 << 60) + bytes(64)
    assert look(io.BytesIO(image)).damage == limits.beyond("image-tags")
