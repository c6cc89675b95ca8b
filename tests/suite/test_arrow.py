from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from ri_analysis.errors import ChangedFile, InputError
from ri_analysis.suite import arrow
from ri_analysis.suite.data import read_images
from ri_analysis.suite.images import EncodedImages

FILE = "data-00000-of-00001.arrow"


def picture(shade: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (6 + shade, 6 + shade), (shade, shade, shade)).save(stream, "PNG")
    return stream.getvalue()


PICTURES = [picture(shade) for shade in range(7)]


def binary(rows: list[bytes | None]) -> Any:
    return pa.array(rows, pa.binary())


def large(rows: list[bytes | None]) -> Any:
    return pa.array(rows, pa.large_binary())


def fields(rows: list[bytes | None]) -> Any:
    """As `datasets` stores images."""
    return pa.array(
        [{"bytes": row, "path": "a.png"} for row in rows], pa.struct({"bytes": pa.binary(), "path": pa.utf8()})
    )


def missing(rows: list[bytes | None]) -> Any:
    """The same, where a row that has no bytes is missing as a whole."""
    found = [None if row is None else {"path": None, "bytes": row} for row in rows]
    return pa.array(found, pa.struct({"path": pa.utf8(), "bytes": pa.large_binary()}))


def sliced(rows: list[bytes | None]) -> Any:
    return pa.concat_arrays([fields([b"before"]), fields(rows), fields([b"after"])]).slice(1, len(rows))


def fixed(rows: list[bytes | None]) -> Any:
    """All of one length, which PNG takes: what follows the image is not looked at."""
    longest = max(len(row) for row in rows if row)
    return pa.array([None if row is None else row.ljust(longest, b"\0") for row in rows], pa.binary(longest))


def dictionary(rows: list[bytes | None]) -> Any:
    return binary(rows).dictionary_encode()


KINDS = [binary, large, fields, missing, sliced, fixed, dictionary]


def saved(folder: Path, columns: dict[str, Any], per_batch: int = 3, **options: Any) -> Path:
    """A folder as `save_to_disk` writes it."""
    folder.mkdir()
    table = pa.table(columns)
    with pa.ipc.new_stream(str(folder / FILE), table.schema, options=pa.ipc.IpcWriteOptions(**options)) as stream:
        stream.write_table(table, per_batch)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": FILE}]}))
    return folder


def encoded(images: Any) -> Callable[[int], bytes]:
    assert isinstance(images, EncodedImages)
    return images._read


@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bytes_of_each_row_are_those_that_were_saved(
    kind: Callable[..., Any], compression: str | None, tmp_path: Path
) -> None:
    columns = {"image": kind(list(PICTURES)), "label": pa.array(range(7), pa.int64())}
    folder = saved(tmp_path / "set", columns, compression=compression)
    found_in_place = arrow._places(folder / FILE, "image") is not None  # else all are copied into memory
    assert found_in_place == (compression is None and kind not in (fixed, dictionary))
    images = read_images(folder, labelled=True)
    for index in (6, 0, 3, 5, 1, 2, 4):
        assert encoded(images)(index).rstrip(b"\0") == PICTURES[index].rstrip(b"\0")
        assert np.all(images.pixels([index], 6) == index)
    assert images.labels is not None
    assert images.labels.tolist() == list(range(7))
    columns["image"] = kind([*PICTURES[:4], None, *PICTURES[5:]])
    with pytest.raises(InputError, match="row 4 holds no image itself"):
        read_images(saved(tmp_path / "without", columns, compression=compression), labelled=True)


def test_no_file_stays_mapped(tmp_path: Path) -> None:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("only Linux says which files are mapped")
    columns = {"image": fields([*PICTURES]), "label": pa.array(["a", "b", "a", "b", "a", "b", "a"])}
    images = read_images(saved(tmp_path / "set", columns), labelled=True)
    images.pixels(range(7), 6)
    assert FILE not in maps.read_text()


def test_a_file_that_is_cut_off_in_use_is_said_to_have_changed(tmp_path: Path) -> None:
    folder = saved(tmp_path / "set", {"image": fields([*PICTURES])})
    images = read_images(folder, labelled=False)
    whole = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(whole[:200])
    with pytest.raises(ChangedFile, match=rf"{FILE}: changed since it was opened"):
        images.pixels([6], 6)


def test_a_file_that_changes_while_it_is_opened_or_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(tmp_path / "set", {"image": fields([*PICTURES])})
    images = read_images(folder, labelled=False)
    before, whole = arrow.regular, (folder / FILE).read_bytes()

    def cut(*arguments: Any) -> Any:
        (folder / FILE).write_bytes(whole[:200])
        return before(*arguments)

    monkeypatch.setattr(arrow, "regular", cut)
    with pytest.raises(ChangedFile, match=rf"{FILE}: changed since it was opened"):
        images.pixels([6], 6)
    monkeypatch.undo()
    (folder / FILE).write_bytes(whole)
    places = arrow._places

    def replaced(*arguments: Any) -> Any:
        found = places(*arguments)
        (folder / FILE).write_bytes(whole)
        return found

    monkeypatch.setattr(arrow, "_places", replaced)
    with pytest.raises(ChangedFile, match=rf"{FILE}: changed since it was opened"):
        read_images(folder, labelled=False)


def test_an_image_of_more_bytes_than_allowed_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = read_images(saved(tmp_path / "set", {"image": binary([*PICTURES])}), labelled=False)
    monkeypatch.setenv("RI_ANALYSIS_LIMITS", "image-bytes=20")
    with pytest.raises(InputError, match=r"set: row 2: expected at most 20 .*, found \d+"):
        encoded(images)(2)
