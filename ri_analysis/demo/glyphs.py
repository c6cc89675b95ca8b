"""Renders letters and digits from the typefaces installed on the machine.

A typeface *family* is the unit of every split: two families that are the same drawing under two names (Arimo and
Liberation Sans, say) count as one, so that no letter shape is both trained on and tested.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = 28
_CANVAS = 84

# Families that are copies of one another, by how their names begin.
_SAME_DRAWING = (
    ("Arimo", "Liberation Sans", "Nimbus Sans", "TeX Gyre Heros", "FreeSans", "Sans Uralic", "Sans Condensed Uralic"),
    ("Tinos", "Liberation Serif", "Nimbus Roman", "TeX Gyre Termes", "FreeSerif", "Roman Uralic", "STIX"),
    ("Cousine", "Liberation Mono", "Nimbus Mono", "TeX Gyre Cursor", "FreeMono", "Mono Uralic"),
    ("C059", "TeX Gyre Schola", "Schoolbook Uralic", "Century Schoolbook"),
    ("P052", "TeX Gyre Pagella", "Palladio Uralic"),
    ("URW Gothic", "TeX Gyre Adventor", "Gothic Uralic"),
    ("URW Bookman", "TeX Gyre Bonum", "Bookman Uralic"),
    ("Z003", "TeX Gyre Chorus", "Chancery Uralic"),
    ("DejaVu Sans Mono", "Hack"),
    ("DejaVu Sans", "Verdana"),
    ("Noto Sans", "Noto Mono", "Open Sans", "WenQuanYi"),
    ("Noto Serif",),
    ("Charis SIL", "Doulos SIL"),
    ("Gentium",),
    ("GFS Didot", "GFS Didot Classic"),
    ("Linux Libertine",),
    ("Linux Biolinum",),
    ("IBM 3270",),
    ("PT Sans",),
    ("PT Serif",),
    ("BPG Nateli",),
    ("BPG Mrgvlovani",),
    ("BPG Sans",),
    ("BPG Glaho",),
    ("Roboto Condensed", "Roboto"),
    ("David CLM", "Taamey David", "Hadasim CLM"),
    ("Frank Ruehl CLM", "Taamey Frank"),
    ("Miriam",),
    ("Ezra SIL",),
    ("Stam",),
    ("Patch",),
    ("Keter",),
    ("B612",),
)


@dataclass(frozen=True)
class Typeface:
    """One font file: its drawing group (see module docstring), style and the characters it holds."""

    family: str
    style: str
    path: str
    index: int
    characters: frozenset[int] = field(compare=False)


@dataclass(frozen=True)
class Look:
    """How glyphs are inked.

    Attributes:
        kind: "light" (light on dark), "dark" (dark on light), "parchment" (dark brown on warm paper) or "any".
        tilt, shear: largest angle in degrees and largest shear.
        noise: standard deviation of the pixel noise.
    """

    kind: str = "any"
    tilt: float = 10.0
    shear: float = 0.2
    noise: float = 10.0


def drawing_group(family: str) -> str:
    """The name under which copies of one drawing are known together."""
    for group in _SAME_DRAWING:
        if any(family.startswith(prefix) for prefix in group):
            return group[0]
    return family


def installed_typefaces() -> list[Typeface]:
    """Every TrueType and OpenType font that fontconfig knows, sorted."""
    listing = subprocess.run(
        ["fc-list", "--format", "%{file}\t%{index}\t%{family}\t%{style}\t%{charset}\n"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    faces = {}
    for line in listing.splitlines():
        path, index, family, style, charset = line.split("\t")
        if Path(path).suffix.lower() not in (".ttf", ".otf", ".ttc") or int(index) > 0xFFFF or "Emoji" in path:
            continue
        name = family.split(",")[0].replace("\\", "")
        faces[path, index] = Typeface(drawing_group(name), style.split(",")[0], path, int(index), _characters(charset))
    return [faces[key] for key in sorted(faces)]


def _characters(charset: str) -> frozenset[int]:
    found: set[int] = set()
    for part in charset.split():
        first, _, last = part.partition("-")
        found.update(range(int(first, 16), int(last or first, 16) + 1))
    return frozenset(found)


def families_with(typefaces: Sequence[Typeface], characters: str) -> dict[str, list[Typeface]]:
    """Family → its typefaces that draw all the characters, each differently, sorted by family."""
    wanted = {ord(character) for character in characters}
    found: dict[str, list[Typeface]] = {}
    for face in typefaces:
        if wanted <= face.characters and _draws(face, characters):
            found.setdefault(face.family, []).append(face)
    return dict(sorted(found.items()))


@cache
def _draws(face: Typeface, characters: str) -> bool:
    try:
        font = _font(face.path, face.index, 32)
        masks = {bytes(font.getmask(character, mode="L")) for character in characters}
        return len(masks) >= 0.9 * len(characters) and all(any(mask) for mask in masks)
    except (OSError, ValueError):
        return False


@lru_cache(maxsize=64)
def _font(path: str, index: int, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size, index=index, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=4096)
def _fit(path: str, index: int, characters: str) -> tuple[int, float]:
    """Font size and baseline at which the whole alphabet fills most of the canvas."""
    font = _font(path, index, 64)
    boxes = [font.getbbox(character, anchor="ms") for character in characters]
    # Percentiles, as one swash must not shrink a whole alphabet.
    top = float(np.percentile([box[1] for box in boxes], 5))
    bottom = float(np.percentile([box[3] for box in boxes], 95))
    width = float(np.percentile([box[2] - box[0] for box in boxes], 95))
    scale = 0.74 * _CANVAS / max(bottom - top, 0.85 * width, 1.0)
    return max(8, round(64 * scale)), _CANVAS / 2 - scale * (top + bottom) / 2


def draw(face: Typeface, character: str, alphabet: str, look: Look, rng: np.random.Generator) -> np.ndarray:
    """One letter as a (28, 28, 3) picture, slightly turned, sheared, scaled, moved and inked as `look` says."""
    size, baseline = _fit(face.path, face.index, alphabet)
    canvas = Image.new("L", (_CANVAS, _CANVAS), 0)
    font = _font(face.path, face.index, size)
    left, _, right, _ = font.getbbox(character, anchor="ms")
    ImageDraw.Draw(canvas).text(
        (_CANVAS / 2 - (left + right) / 2, baseline), character, fill=255, font=font, anchor="ms"
    )
    angle = np.deg2rad(rng.uniform(-look.tilt, look.tilt))
    scale = 1 / rng.uniform(0.85, 1.1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = scale * turn @ np.array([[1, rng.uniform(-look.shear, look.shear)], [0, 1]])
    centre = np.full(2, _CANVAS / 2)
    shift = centre - matrix @ (centre + rng.uniform(-5, 5, 2))
    coefficients = (matrix[0, 0], matrix[0, 1], shift[0], matrix[1, 0], matrix[1, 1], shift[1])
    moved = canvas.transform(canvas.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    ink = np.asarray(moved.resize((SIZE, SIZE), Image.Resampling.BOX), np.float32)[..., None] / 255
    paper, pen = _colours(look.kind, rng)
    picture = paper + (pen - paper) * ink
    if look.noise:
        picture = picture + rng.normal(0, look.noise, (SIZE, SIZE, 1))
    pixels: np.ndarray = np.clip(picture, 0, 255).astype(np.uint8)
    return pixels


def _colours(kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    if kind == "any":
        kind = str(rng.choice(["light", "dark", "parchment", "colour"]))
    if kind == "light":
        return np.full(3, rng.uniform(0, 40)), np.full(3, rng.uniform(200, 255))
    if kind == "dark":
        return np.full(3, rng.uniform(190, 255)), np.full(3, rng.uniform(0, 70))
    if kind == "parchment":
        paper = np.array([228, 205, 160]) + rng.uniform(-22, 22) + rng.uniform(-8, 8, 3)
        return paper, np.array([70, 45, 30]) + rng.uniform(-25, 25, 3)
    while True:
        paper, pen = rng.uniform(0, 255, 3), rng.uniform(0, 255, 3)
        if abs(float((paper - pen) @ [0.3, 0.6, 0.1])) > 70:
            return paper, pen
