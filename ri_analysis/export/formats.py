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
from PIL import Image

from ri_analysis.export import browser, glyphs, paper
from ri_analysis.export.snapshot import Snapshot

DPI = 300  # of PNG


@dataclass(frozen=True)
class Format:
    """A file format: its suffix and media type, what it is good for, whether it needs a browser here, its writer."""

    suffix: str
    media: str
    note: str
    drawn: bool
    write: Callable[[Snapshot], bytes]


def image(printed: go.Figure, suffix: str, description: str = "") -> bytes:
    """Return a figure that went through `paper.for_paper` as SVG, PNG or PDF. Raises InputError without a browser."""
    if suffix == "png":
        return _with_dpi(browser.draw(printed, "png", DPI / paper.INCH))
    drawn = browser.draw(printed, suffix)
    return _sized(drawn, printed, description) if suffix == "svg" else drawn


def _sized(drawn: bytes, printed: go.Figure, description: str) -> bytes:
    """Give an SVG its size in inches, so that it is placed at that size, and words for those who can't see it."""
    text = drawn.decode()
    for side in ("width", "height"):
        inches = float(printed.layout[side]) / paper.INCH
        text = re.sub(rf'(<svg[^>]*? {side}=")[^"]*"', rf'\g<1>{inches:.4g}in"', text, count=1)
    if description:
        text = re.sub(r"(<svg[^>]*>)", lambda found: f"{found[1]}<desc>{escape(description)}</desc>", text, count=1)
    return text.encode()


def _with_dpi(drawn: bytes) -> bytes:
    stream = io.BytesIO()
    with Image.open(io.BytesIO(drawn), formats=("PNG",)) as picture:
        picture.save(stream, "PNG", dpi=(DPI, DPI), optimize=True)
    return stream.getvalue()


def csv(table: pd.DataFrame) -> bytes:
    """Return a table as CSV."""
    return table.to_csv(index=False).encode()


def parquet(table: pd.DataFrame) -> bytes:
    """Return a table as parquet."""
    stream = io.BytesIO()
    table.to_parquet(stream, index=False)
    return stream.getvalue()


def _html(snapshot: Snapshot) -> bytes:
    from ri_analysis.export.report import page

    return page(snapshot.title, [snapshot])


FORMATS = {
    item.suffix: item
    for item in (
        Format(
            "svg",
            "image/svg+xml",
            "vectors, font embedded",
            True,
            lambda snapshot: image(snapshot.printed, "svg", snapshot.caption),
        ),
        Format(
            "pdf", "application/pdf", "vectors, font embedded", True, lambda snapshot: image(snapshot.printed, "pdf")
        ),
        Format("png", "image/png", f"{DPI} dots per inch", True, lambda snapshot: image(snapshot.printed, "png")),
        Format("html", "text/html", "interactive, works offline", False, _html),
        Format("csv", "text/csv", "the table behind it", False, lambda snapshot: csv(snapshot.table)),
        Format(
            "parquet",
            "application/vnd.apache.parquet",
            "the table behind it, with its types",
            False,
            lambda snapshot: parquet(snapshot.table),
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
    return [f"{place:02d}-{snapshot.name}" for place, snapshot in enumerate(snapshots, 1)]


def words(snapshot: Snapshot) -> str:
    """Return title, caption and origin as plain text."""
    origin = "\n".join(f"{label}: {text}" for label, text in snapshot.origin.lines())
    return f"{snapshot.title}\n\n{snapshot.caption} {snapshot.n}\n\n{origin}\n"
