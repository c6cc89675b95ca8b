"""Order statistics of whole task vectors, streamed: no T×P matrix is ever built."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch

from ri_analysis.merging.method import Walk

Chunks = Callable[[], Iterator[torch.Tensor]]

_CHUNK = 1 << 18  # entries; a chunk and its temporaries stay in the cache, and malloc reuses them
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

    def magnitudes() -> Iterator[torch.Tensor]:
        for layer in walk():
            for chunk in split(layer.deltas):
                yield chunk.abs()

    return kth_largest(magnitudes, lambda total: max(1, total - share(1.0 - density, total)))


def split(deltas: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield the stacked tensors (T, *shape) as views (T, n) over consecutive entries, small enough for the cache."""
    flat = deltas.reshape(len(deltas), -1)
    width = max(1, _CHUNK // len(flat))
    for start in range(0, flat.shape[1], width):
        yield flat[:, start : start + width]


def kth_largest(chunks: Chunks, rank: Callable[[int], int]) -> torch.Tensor:
    """Return the k-th largest entry of every row, k = rank(P) counted from 1, shape (T,).

    `chunks` walks the rows (T, P) as float32 pieces (T, n) at each call. Exact, in two passes: a sample brackets the
    wanted entry, then what lies above the bracket is counted and what lies inside is kept and ordered. Should the
    sample mislead, two more passes count bits instead.
    """
    total, sample = _sample(chunks)
    k = rank(total)
    brackets = [_bracket(row, k / total) for row in sample]
    found = _within(chunks, brackets, k)
    if found is None:
        return _by_bits(chunks, k)
    return found


def _sample(chunks: Chunks) -> tuple[int, torch.Tensor]:
    """Return the number of entries P in a row and an even sample of each row, shape (T, about P / _STRIDE)."""
    total, parts, offset = 0, [], 0
    for chunk in chunks():
        parts.append(chunk[:, offset::_STRIDE].clone())
        total += chunk.shape[1]
        offset = -total % _STRIDE
    return total, torch.cat(parts, dim=1)


def _bracket(sample: torch.Tensor, part: float) -> tuple[float, float]:
    """Return bounds that hold the entry which ends the largest `part` of the sampled row, almost surely."""
    ordered, n = sample.sort(descending=True).values, len(sample)
    spread = _MARGIN * math.sqrt(n * part * (1.0 - part)) + _MARGIN
    first, last = math.floor(part * n - spread), math.ceil(part * n + spread)
    high = float(ordered[first]) if first >= 0 else math.inf
    return (float(ordered[last]) if last < n else -math.inf), high


def _within(chunks: Chunks, brackets: list[tuple[float, float]], k: int) -> torch.Tensor | None:
    """Return the k-th largest entry of every row if each lies in its bracket, otherwise None."""
    above = [0] * len(brackets)  # strictly above the bracket
    top = [0] * len(brackets)  # equal to its upper end
    bottom = [0] * len(brackets)  # equal to its lower end
    inside: list[list[torch.Tensor]] = [[] for _ in brackets]
    for chunk in chunks():
        for row, values in enumerate(chunk):
            low, high = brackets[row]
            values = values[values >= low]
            above[row] += int(torch.count_nonzero(values > high))
            top[row] += int(torch.count_nonzero(values == high))
            bottom[row] += int(torch.count_nonzero(values == low))
            inside[row].append(values[(values > low) & (values < high)])
    found = torch.empty(len(brackets))
    for row, (low, high) in enumerate(brackets):
        middle = torch.cat(inside[row])
        position = k - above[row]
        held = top[row] + len(middle) + (bottom[row] if low < high else 0)
        if not 1 <= position <= held:
            return None
        if position <= top[row]:
            found[row] = high
        elif position <= top[row] + len(middle):
            found[row] = middle.kthvalue(len(middle) - (position - top[row]) + 1).values
        else:
            found[row] = low
    return found


def _by_bits(chunks: Chunks, k: int) -> torch.Tensor:
    """Return the k-th largest entry of every row by counting: first the upper 16 bits of all, then the lower."""
    upper = _histogram(chunks, None)
    bins, above = _bin_of_kth_largest(upper, torch.full((len(upper),), k))
    lower, _ = _bin_of_kth_largest(_histogram(chunks, bins), k - above)
    return _keys((((bins - (_HALF >> 1)) << 16) | lower).to(torch.int32)).view(torch.float32)


def _keys(bits: torch.Tensor) -> torch.Tensor:
    """Map float32 bits to integers in the order of their values; the map is its own inverse."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def _histogram(chunks: Chunks, bins: torch.Tensor | None) -> torch.Tensor:
    """Count, per row, the upper halves of all keys, or the lower halves of those in the row's bin."""
    counts: torch.Tensor | None = None
    for chunk in chunks():
        keys = _keys((chunk + 0.0).view(torch.int32))  # -0.0 becomes 0.0
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
