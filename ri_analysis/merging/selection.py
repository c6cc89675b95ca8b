"""Order statistics of whole task vectors, streamed: no T×P matrix is ever built."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch

from ri_analysis.merging.method import Walk
from ri_analysis.threads import one_thread

Transform = Callable[[torch.Tensor], torch.Tensor]
Pieces = Callable[[], Iterator[torch.Tensor]]

_STRIDE = 61  # one entry in so many is sampled; prime, so that it walks across the columns of every matrix
_MARGIN = 8.0  # standard deviations of the sampled rank
_HALF = 1 << 16


def share(part: float, total: int) -> int:
    """Return ⌊part · total⌋, read as the decimal number it was written as: 0.29 of 100 is 29."""
    return math.floor(round(part * total, 6))


def kth_largest_magnitude(walk: Walk, density: float) -> torch.Tensor:
    """Return, for each expert, the magnitude of the entry that ends its largest `density` of entries, shape (T,).

    Exact. k = ⌈density · P⌉, at least 1; entries equal to the threshold are all kept.
    """
    return kth_largest(walk, torch.abs, lambda total: max(1, total - share(1.0 - density, total)))


def kth_largest(walk: Walk, transform: Transform, rank: Callable[[int], int]) -> torch.Tensor:
    """Return, for each expert, the k-th largest entry of its transformed task vector, k = rank(P) from 1: (T,).

    `transform` maps any columns (T, n) of the task vectors to as many of what is ordered. Exact, in two passes: a
    sample brackets the wanted entry, then what lies above is counted and what lies inside is kept and ordered.
    Should the sample mislead, two more passes count bits instead.
    """

    def pieces() -> Iterator[torch.Tensor]:
        return (transform(piece) for layer in walk() for piece in layer.pieces())

    with one_thread:
        total, sample = _sample(walk, transform)
        k = rank(total)
        found = _within(pieces, [_bracket(row, k / total) for row in sample], k)
        return _by_bits(pieces, k) if found is None else found


def _sample(walk: Walk, transform: Transform) -> tuple[int, torch.Tensor]:
    """Return the number of entries P in a row and an even sample of each row, shape (T, about P / _STRIDE)."""
    total, parts = 0, []
    for layer in walk():
        parts.append(transform(layer.every(_STRIDE, -total % _STRIDE)))
        total += layer.pretrained.numel()
    return total, torch.cat(parts, dim=1)


def _bracket(sample: torch.Tensor, part: float) -> tuple[float, float]:
    """Return bounds that hold the entry which ends the largest `part` of the sampled row, almost surely."""
    ordered, n = -sample.numpy(), len(sample)
    spread = _MARGIN * math.sqrt(n * part * (1.0 - part)) + _MARGIN
    first, last = math.floor(part * n - spread), math.ceil(part * n + spread)
    ordered.partition(np.array([place for place in (first, last) if 0 <= place < n], dtype=np.intp))
    return (-float(ordered[last]) if last < n else -math.inf), (-float(ordered[first]) if first >= 0 else math.inf)


def _within(pieces: Pieces, brackets: list[tuple[float, float]], k: int) -> torch.Tensor | None:
    """Return the k-th largest entry of every row if each lies in its bracket, otherwise None."""
    rows = [_Bracketed(low, high) for low, high in brackets]
    for piece in pieces():
        for row, values in zip(rows, piece.numpy(), strict=True):
            row.add(values)
    found = [row.kth_largest(k) for row in rows]
    return None if None in found else torch.tensor(found)


class _Bracketed:
    """What is known of a row after a pass: how many entries lie above a bracket, and those inside.

    Entries equal to an end of the bracket are only counted: in a sparse row they may be most of it. Those inside go to
    one growing buffer: many small arrays would keep the memory between them from being used again.
    """

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = np.float32(low), np.float32(high)
        self._above = self._top = self._bottom = 0
        self._inside = bytearray()

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Take in a part of the row."""
        self._above += int(np.count_nonzero(values > self._high))
        held = values[np.flatnonzero((values >= self._low) & (values <= self._high))]
        top, bottom = held == self._high, held == self._low
        self._top += int(np.count_nonzero(top))
        self._bottom += int(np.count_nonzero(bottom & ~top))
        self._inside += held[~(top | bottom)].tobytes()

    def kth_largest(self, k: int) -> float | None:
        """Return the row's k-th largest entry, None when it is not in the bracket."""
        inside, position = np.frombuffer(self._inside, np.float32), k - self._above
        if not 1 <= position <= self._top + len(inside) + self._bottom:
            return None
        if position <= self._top:
            return float(self._high)
        position -= self._top
        if position > len(inside):
            return float(self._low)
        return float(np.partition(inside, len(inside) - position)[len(inside) - position])


def _by_bits(pieces: Pieces, k: int) -> torch.Tensor:
    """Return the k-th largest entry of every row by counting: first the upper 16 bits of all, then the lower."""
    upper = _histogram(pieces, None)
    bins, above = _bin_of_kth_largest(upper, torch.full((len(upper),), k))
    lower, _ = _bin_of_kth_largest(_histogram(pieces, bins), k - above)
    return _keys((((bins - (_HALF >> 1)) << 16) | lower).to(torch.int32)).view(torch.float32)


def _keys(bits: torch.Tensor) -> torch.Tensor:
    """Map float32 bits to integers in the order of their values; the map is its own inverse."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def _histogram(pieces: Pieces, bins: torch.Tensor | None) -> torch.Tensor:
    """Count, per row, the upper halves of all keys, or the lower halves of those in the row's bin."""
    counts: torch.Tensor | None = None
    for piece in pieces():
        keys = _keys((piece + 0.0).view(torch.int32))  # -0.0 becomes 0.0
        counts = torch.zeros(len(keys), _HALF, dtype=torch.int64) if counts is None else counts
        for number, row in enumerate(keys):
            upper = (row >> 16) + (_HALF >> 1)
            part = upper if bins is None else row[upper == bins[number]] & (_HALF - 1)
            counts[number] += torch.bincount(part, minlength=_HALF)
    assert counts is not None, "a model has at least one floating-point tensor"
    return counts


def _bin_of_kth_largest(counts: torch.Tensor, k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return per row the bin that holds the k-th largest entry, and how many entries lie in the bins above it."""
    at_least = counts.flip(1).cumsum(1).flip(1)
    bins = (at_least >= k[:, None]).sum(dim=1) - 1
    rows = torch.arange(len(counts))
    return bins, at_least[rows, bins] - counts[rows, bins]
