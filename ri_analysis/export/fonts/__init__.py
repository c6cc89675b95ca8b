"""The font that is embedded into exported figures, so that they look the same on every machine."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path

FAMILY = "RI Sans"
STACK = f'"{FAMILY}", "Source Sans", "Source Sans 3", "Helvetica Neue", Arial, sans-serif'
_FILES = {"400": "RISans-Regular.woff2", "700": "RISans-Bold.woff2"}  # CSS weight: file


@cache
def encoded() -> dict[str, str]:
    """Return the font files in base64 by CSS weight."""
    folder = Path(__file__).parent
    return {weight: base64.b64encode((folder / name).read_bytes()).decode() for weight, name in _FILES.items()}


@cache
def style_sheet() -> str:
    """Return CSS that brings the font along."""
    return "".join(
        f'@font-face{{font-family:"{FAMILY}";font-weight:{weight};'
        f'src:url(data:font/woff2;base64,{data}) format("woff2")}}'
        for weight, data in encoded().items()
    )
