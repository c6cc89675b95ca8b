"""Auxiliary images made from a seed: they need no file and hold no task."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Pixels = npt.NDArray[np.uint8]


def noise(generator: np.random.Generator, size: int) -> Pixels:
    """Return Gaussian noise around mid-grey, (size, size, 3)."""
    return np.clip(generator.normal(127.5, 64.0, (size, size, 3)), 0, 255).astype(np.uint8)


def shapes(generator: np.random.Generator, size: int) -> Pixels:
    """Return one to five random ellipses, polygons and strokes on a plain ground, (size, size, 3).

    Drawn at four times the size and reduced, so that edges are smooth.
    """
    large = 4 * size
    image = Image.new("RGB", (large, large), _colour(generator))
    draw = ImageDraw.Draw(image)
    for _ in range(generator.integers(1, 6)):
        points = generator.integers(0, large, (int(generator.integers(3, 7)), 2))
        corners = [(int(x), int(y)) for x, y in points]
        kind = generator.integers(3)
        if kind == 0:
            (left, top), (right, bottom) = points[:2].min(axis=0).tolist(), points[:2].max(axis=0).tolist()
            draw.ellipse((left, top, right, bottom), fill=_colour(generator))
        elif kind == 1:
            draw.polygon(corners, fill=_colour(generator))
        else:
            draw.line(corners, fill=_colour(generator), width=int(generator.integers(large // 40 + 1, large // 8)))
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))


def _colour(generator: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = generator.integers(0, 256, 3).tolist()
    return red, green, blue


GENERATORS: dict[str, Callable[[np.random.Generator, int], Pixels]] = {"noise": noise, "shapes": shapes}
