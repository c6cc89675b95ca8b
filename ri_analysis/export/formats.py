"""The formats a figure is written in, and all of them in one archive."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ri_analysis.export import browser, glyphs, paper
from ri_analysis.export.snapshot import Snapshot
from ri_analysis.markdown import csv_text

DPI = 300  # of PNG


@dataclass(frozen=True)
class Format:
    """A file format: its suffix and media type, what it is good for, whether it needs a browser here, its writer."""

    suffix: str
    media: str
    note: str
    drawn: bool
    write: Callable[[Snapshot], bytes]


def image(printed: go.Figure, suffix: str, title: str = "", description: str = "") -> bytes:
    """Return a figure that went through `paper.for_paper` as SVG, PNG or PDF. Raises InputError without a browser.

    Papers have title and description beside a figure, not in it: files name them where their format has a place for it.
    """
    titled = go.Figure(printed).update_layout(meta={"title": title})
    if suffix == "png":
        return _with_words(browser.draw(titled, "png", DPI / paper.INCH), title, description)
    drawn = browser.draw(titled, suffix)
    return _sized(drawn, printed, title, description) if suffix == "svg" else drawn


def _sized(drawn: bytes, printed: go.Figure, title: str, description: str) -> bytes:
    """Give an SVG its size in inches, so that it is placed at that size, and words for those who can't see it."""
    text = drawn.decode()
    for side in ("width", "height"):
        inches = float(printed.layout[side]) / paper.INCH
        text = re.sub(rf'(<svg[^>]*? {side}=")[^"]*"', rf'\g<1>{inches:.4g}in"', text, count=1)
    given = {"title": title, "desc": description}
    inside = "".join(f"<{name}>{escape(words)}</{name}>" for name, words in given.items() if words)
    return re.sub(r"<svg[^>]*>", lambda found: found[0] + inside, text, count=1).encode()


def _with_words(drawn: bytes, title: str, description: str) -> bytes:
    """Give a PNG its resolution, and its title and description in the entries that the format has for them."""
    stream, entries = io.BytesIO(), PngInfo()
    for name, words in (("Title", title), ("Description", description)):
        if words:
            entries.add_itxt(name, words)
    with Image.open(io.BytesIO(drawn), formats=("PNG",)) as picture:
        picture.save(stream, "PNG", dpi=(DPI, DPI), optimize=True, pnginfo=entries)
    return stream.getvalue()


def csv(table: pd.DataFrame) -> bytes:
    """Return a table as CSV."""
    return csv_text(table).encode()


def parquet(table: pd.DataFrame, **words: str) -> bytes:
    """Return a table as parquet, with `words` about it in its schema's metadata."""
    stream, made = io.BytesIO(), pa.Table.from_pandas(table, preserve_index=False)
    pq.write_table(made.replace_schema_metadata({**(made.schema.metadata or {}), **words}), stream)
    return stream.getvalue()


def _html(snapshot: Snapshot) -> bytes:
    from ri_analysis.export.report import page

    return page(snapshot.title, [snapshot])


def _drawn(suffix: str) -> Callable[[Snapshot], bytes]:
    return lambda snapshot: image(snapshot.printed, suffix, snapshot.title, snapshot.caption)


FORMATS = {
    item.suffix: item
    for item in (
        Format("svg", "image/svg+xml", "vectors, font embedded", True, _drawn("svg")),
        Format("pdf", "application/pdf", "vectors, font embedded", True, _drawn("pdf")),
        Format("png", "image/png", f"{DPI} dots per inch", True, _drawn("png")),
        Format("html", "text/html", "interactive, works offline", False, _html),
        Format("csv", "text/csv", "the table behind it", False, lambda snapshot: csv(snapshot.table)),
        Format(
            "parquet",
            "application/vnd.apache.parquet",
            "the table behind it, with its types",
            False,
            lambda snapshot: parquet(snapshot.table, title=snapshot.title, caption=snapshot.caption),
        ),
    )
}


def archive(snapshots: Sequence[Snapshot]) -> bytes:
    """Return all figures in all formats that can be written here, as one zip file, with a note on their origin."""
    can_draw, stream = browser.missing() is None, io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as files:
        for name, snapshot in zip(file_names(snapshots), snapshots, strict=True):
            for item in FORMATS.values():
                if can_draw or not item.drawn:
                    files.writestr(f"{name}/{name}.{item.suffix}", item.write(snapshot))
            files.writestr(f"{name}/{name}.txt", words(snapshot))
        if can_draw and (note := glyphs.about_images(snapshot.printed for snapshot in snapshots)):
            files.writestr("FONTS.txt", f"{note}\n")
        if not can_draw:
            files.writestr("NO-IMAGES.txt", f"{browser.missing()}\n")
    return stream.getvalue()


def file_names(snapshots: Sequence[Snapshot]) -> list[str]:
    """Return a name for each figure's files, numbered so that they sort as in the tray and differ."""
    return [f"{place:02d}-{snapshot.file_name}" for place, snapshot in enumerate(snapshots, 1)]


def words(snapshot: Snapshot) -> str:
    """Return title, caption and origin as plain text."""
    origin = "\n".join(f"{label}: {text}" for label, text in snapshot.origin.lines())
    return f"{snapshot.title}\n\n{snapshot.caption} {snapshot.n}\n\n{origin}\n"
