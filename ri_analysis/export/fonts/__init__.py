"""The font that is embedded into exported figures, so that they look the same on every machine."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path

FAMILY = "RI Sans"
STACK = f'"{FAMILY}", "Source Sans", "Source Sans 3", "Helvetica Neue", Arial, sans-serif'
FILES = {"400": "RISans-Regular.woff2", "700": "RISans-Bold.woff2"}  # CSS weight: file

# Code points that both files have a glyph for.
COVERED = (
    "20-7E A0-17F 218-21B 2C6-2CC 2D0-2DD 300-304 391-3A1 3A3-3C9 2010-201E 2020-2023 2026 2030-2033 2035 2039-203A "
    "2070-2071 2074-2089 20AC 2122 2190-2195 2200 2202-2203 2206 220F 2211-2212 2215 2219-221A 221E-221F 2229 222B "
    "2236-2237 2248 2260-2261 2264-2265 25A0-25A1 25AA-25AC 25B2-25BA 25BC-25C4 25C6 25C9-25CC 25CF 25D8-25D9 25E6"
)


@cache
def encoded() -> dict[str, str]:
    """Return the font files in base64 by CSS weight."""
    folder = Path(__file__).parent
    return {weight: base64.b64encode((folder / name).read_bytes()).decode() for weight, name in FILES.items()}


@cache
def style_sheet() -> str:
    """Return CSS that brings the font along."""
    return "".join(
        f'@font-face{{font-family:"{FAMILY}";font-weight:{weight};'
        f'src:url(data:font/woff2;base64,{data}) format("woff2")}}'
        for weight, data in encoded().items()
    )
