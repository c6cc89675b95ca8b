"""Which characters of a figure the embedded font lacks, and what that means for its files."""

from __future__ import annotations

import json
import re
import subprocess
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import Any

import plotly.graph_objects as go

from ri_analysis.errors import listing
from ri_analysis.export import fonts

_SHOWN = 8  # characters that a note names
_EAST_ASIAN = re.compile("CJK|HIRAGANA|KATAKANA|HANGUL|BOPOMOFO|FULLWIDTH|IDEOGRAPHIC")


def about_images(figures: Iterable[go.Figure]) -> str:
    """Return what is to be known about the text of images that are drawn here; empty where every character is there.

    A browser takes a character that the embedded font lacks from another font of this machine, if one has it.
    """
    found = lacking(figures)
    if not found:
        return ""
    here = installed()
    if here is None:
        return (
            f"The embedded font lacks {_named(found)}: SVG, PNG and PDF show {_them(found)} only if another font on "
            f"this machine has {_them(found)}; check the files. {_remedy(found)}"
        )
    absent = [sign for sign in found if not _covers(here, sign)]
    if absent:
        return (
            f"No font on this machine has {_named(absent)}: SVG, PNG and PDF drawn here show {_them(absent)} as boxes "
            f"or not at all. {_remedy(absent)}"
        )
    return (
        f"The embedded font lacks {_named(found)}: PNG and PDF take {_them(found)} from another font on this machine; "
        f"an SVG shows {_them(found)} only where the reader's machine has such a font."
    )


def about_pages(figures: Iterable[go.Figure]) -> str:
    """Return what is to be known about the text of HTML pages; empty where every character is in the font inside."""
    found = lacking(figures)
    return found and (
        f"The font inside the page lacks {_named(found)}: the reader's browser takes {_them(found)} from a font on "
        f"the reader's machine, if one has {_them(found)}."
    )


def lacking(figures: Iterable[go.Figure]) -> str:
    """Return the characters in the text of figures that the embedded font lacks, each once, sorted."""
    signs = {sign for figure in figures for sign in _signs(json.loads(str(figure.to_json())))}
    # Spaces and marks without a shape need no glyph.
    visible = {sign for sign in signs if unicodedata.category(sign)[0] not in "ZC"}
    return "".join(sorted(sign for sign in visible if not _covers(fonts.COVERED, sign)))


@cache
def installed() -> str | None:
    """Return the code points that the fonts of this machine cover, as ranges; None where fontconfig can't tell."""
    try:
        done = subprocess.run(
            ["fc-list", "--format", "%{charset} "], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout or None


def _signs(part: Any) -> set[str]:
    if isinstance(part, str):
        return set(part)
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return set().union(*map(_signs, inner))


@cache
def _code_points(ranges: str) -> frozenset[int]:
    ends = (item.partition("-")[::2] for item in ranges.split())
    return frozenset(code for low, high in ends for code in range(int(low, 16), int(high or low, 16) + 1))


def _covers(ranges: str, sign: str) -> bool:
    return ord(sign) in _code_points(ranges)


def _named(signs: Iterable[str]) -> str:
    return listing([*signs], _SHOWN)


def _them(signs: str | list[str]) -> str:
    return "it" if len(signs) == 1 else "them"


def _remedy(signs: Iterable[str]) -> str:
    east_asian = all(_EAST_ASIAN.search(unicodedata.name(sign, "")) for sign in signs)
    package = "fonts-noto-cjk" if east_asian else "fonts-noto"
    return f"Install a font that has {_them([*signs])} (Debian: apt-get install {package})."
