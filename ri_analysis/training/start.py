"""Where a step's way through the tower begins: at the pixels, or at the tokens that enter the last blocks."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ri_analysis.caches import seal, sealed
from ri_analysis.encoder import Encoder
from ri_analysis.encoder.tower import Weights, require_directions
from ri_analysis.files import atomic_path, digest
from ri_analysis.hyperparameters import Value
from ri_analysis.memory import fitting
from ri_analysis.progress import Progress
from ri_analysis.scratch import tensor_in_file
from ri_analysis.suite import ImageSet
from ri_analysis.suite.images import Indices

IN_MEMORY = 512 << 20  # bytes of pixels, or of tokens; more lie on disk


def room() -> int:
    """Return the bytes of pixels, or of tokens, that may be held in memory within the process's budget."""
    return fitting(IN_MEMORY)


@dataclass(frozen=True)
class Rows:
    """What a frozen model makes of some images: `values` (n, …) for the images at `rows` (n,), which are sorted."""

    rows: Indices
    values: torch.Tensor

    def at(self, rows: Indices) -> torch.Tensor:
        """Return the values of the images at `rows`."""
        return self.values[torch.from_numpy(np.searchsorted(self.rows, rows))]


class Start(Protocol):
    """What the forward pass of a batch begins with."""

    def fetch(self, rows: Indices) -> Any:
        """Return what `forward` takes for the images at `rows`: this may run in another thread, ahead of the step."""
        ...

    def forward(self, fetched: Any) -> torch.Tensor:
        """Return the unit features (batch, embed_dim)."""
        ...


@dataclass(frozen=True)
class Pixels:
    """The whole tower, from images."""

    encoder: Encoder
    images: ImageSet

    def fetch(self, rows: Indices) -> Any:
        """See Start."""
        return self.images.pixels(rows, self.encoder.image_size)

    def forward(self, fetched: Any) -> torch.Tensor:
        """See Start."""
        return self.encoder.forward(self.encoder.preprocess(fetched))


@dataclass(frozen=True)
class Tokens:
    """The last blocks alone, from what enters them: (n, tokens, width), which does not change and is held."""

    encoder: Encoder
    last: int
    held: Rows

    def fetch(self, rows: Indices) -> Any:
        """See Start."""
        return self.held.at(rows)

    def forward(self, fetched: Any) -> torch.Tensor:
        """See Start."""
        return self.encoder.forward_from(self.last, fetched)


def begin(
    encoder: Encoder,
    weights: Weights,
    images: ImageSet,
    rows: Indices,
    settings: Mapping[str, Value],
    folder: Path,
    source: str,
    progress: Progress | None = None,
) -> tuple[Start, Rows]:
    """Load `weights`, from which training starts; return where its steps start and the features of `images` at `rows`.

    `folder` is for tokens that there is no `room` for; a resumed run finds them there. `progress` counts images. Raises
    NotFinite, naming `source`, where the features have no direction.
    """
    if settings["parameters"] != "last-blocks":
        return Pixels(encoder, images), Rows(
            rows, encoder.features(weights, images, rows, source=source, progress=progress)
        )
    last = int(settings["blocks"])
    encoder.load(weights, source)
    start = Tokens(encoder, last, Rows(rows, _held(encoder, images, rows, last, folder, progress)))
    with torch.no_grad():
        parts = [start.forward(part).cpu() for part in torch.split(start.held.values, encoder.batch)]
    return start, Rows(rows, require_directions(torch.cat(parts), source))


def clear(folder: Path) -> None:
    """Remove what `begin` has put in `folder`."""
    shutil.rmtree(folder, ignore_errors=True)


def _held(
    encoder: Encoder, images: ImageSet, rows: Indices, last: int, folder: Path, progress: Progress | None
) -> torch.Tensor:
    first = next(encoder.tokens(images, rows[:1], last))
    shape, dtype = (len(rows), *first.shape[1:]), encoder.autocast or first.dtype
    if len(rows) * first.numel() * dtype.itemsize <= room():
        return _filled(torch.empty(shape, dtype=dtype), encoder, images, rows, last, progress)
    path = folder / _name(encoder, images, rows, last, dtype)
    if not sealed(path, path.stem):
        with atomic_path(path) as temporary:
            _filled(tensor_in_file(temporary, shape, dtype), encoder, images, rows, last, progress)
        seal(path, path.stem)
    return tensor_in_file(path, shape, dtype)


def _filled(
    held: torch.Tensor, encoder: Encoder, images: ImageSet, rows: Indices, last: int, progress: Progress | None
) -> torch.Tensor:
    done = 0
    for tokens in encoder.tokens(images, rows, last):
        held[done : done + len(tokens)] = tokens
        done += len(tokens)
        if progress is not None:
            progress(done, len(rows))
    return held


def _name(encoder: Encoder, images: ImageSet, rows: Indices, last: int, dtype: torch.dtype) -> str:
    """Return a name that changes with all that the tokens depend on."""
    weights = (tensor.numpy().tobytes() for tensor in encoder.state().values())
    how = (encoder.architecture.fingerprint, str(encoder.batch), str(last), str(dtype), images.digest)
    return f"{digest(*how, rows.tobytes(), *weights)}.tokens"
