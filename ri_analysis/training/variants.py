"""Random variants of images: a small auxiliary set goes further when no step sees quite the same image again."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from ri_analysis.files import digest
from ri_analysis.suite import ImageSet
from ri_analysis.suite.images import Indices

TURN, STRETCH, SHIFT, LIGHT = math.radians(15), 0.2, 0.15, 0.2  # largest change of each kind


class Variants:
    """`views` variants of every image: itself, then turned, stretched, shifted, mirrored and lit at random.

    An ImageSet of views·n images without labels; image i + k·n is variant k of image i, and depends on the seed and
    its own index alone.
    """

    labels: npt.NDArray[np.int64] | None = None

    def __init__(self, images: ImageSet, views: int, seed: int) -> None:
        self.source, self.digest = images.source, digest(images.digest, str(views), str(seed))
        self.classes, self.remarks = images.classes, images.remarks
        self._images, self._views, self._seed = images, views, seed

    def __len__(self) -> int:
        return len(self._images) * self._views

    def pixels(self, indices: Sequence[int] | npt.NDArray[np.int64], size: int) -> npt.NDArray[np.uint8]:
        """See ImageSet."""
        chosen = np.asarray(indices, dtype=np.int64)
        found = self._images.pixels(chosen % len(self._images), size)
        varied = np.flatnonzero(chosen >= len(self._images))
        if len(varied):
            found = found.copy()
            found[varied] = vary(found[varied], [[self._seed, int(index)] for index in chosen[varied]])
        return found


def some(variants: int, count: int, seed: int) -> Indices:
    """Return the indices, sorted, of `count` of so many variants, drawn by `seed`."""
    if count == variants:
        return np.arange(variants)
    return np.sort(np.random.default_rng([seed, variants, 2]).permutation(variants)[:count])


def vary(pixels: npt.NDArray[np.uint8], seeds: Sequence[Sequence[int]]) -> npt.NDArray[np.uint8]:
    """Return one random variant of each image (k, h, w, 3); image i is drawn from `seeds[i]`. Edges are continued."""
    draws = np.stack([np.random.default_rng(seed).uniform(-1, 1, 8) for seed in seeds])
    turn, across, down, right, lower, mirror, bright, contrast = torch.from_numpy(draws).float().T
    sign = torch.where(mirror < 0, -1.0, 1.0)
    cosine, sine = torch.cos(turn * TURN), torch.sin(turn * TURN)
    wide, high = 1 + across * STRETCH, 1 + down * STRETCH
    rows = [
        torch.stack([sign * cosine * wide, -sine * high, right * SHIFT], dim=1),
        torch.stack([sign * sine * wide, cosine * high, lower * SHIFT], dim=1),
    ]
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    factor, offset = (1 + contrast * LIGHT).view(-1, 1, 1, 1), (bright * LIGHT * 127.5).view(-1, 1, 1, 1)
    lit = (moved - 127.5) * factor + 127.5 + offset
    varied: npt.NDArray[np.uint8] = lit.round().clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8).numpy()
    return varied
