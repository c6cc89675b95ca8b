"""Where two models part: their class tokens compared after each transformer block."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from ri_analysis.intervals import Interval

Tokens = npt.NDArray[np.floating]

GROUPS = 10
_T_95 = round(float(stdtrit(GROUPS - 1, 0.975)), 10)  # Student's t, to the digits that kept answers were made with


def cka_distance(first: Tokens, second: Tokens) -> tuple[float, Interval]:
    """Return 1 − linear CKA of two representations (n, width) of the same images, and its interval.

    Linear CKA = ‖XᵀY‖²_F / (‖XᵀX‖_F ‖YᵀY‖_F) of centred X, Y (Kornblith et al. 2019, arXiv 1905.00414, equation 4): 0
    for representations equal up to rotation and scale. Rests high (the distance low) when n is far below the width.
    The interval is a delete-a-group jackknife's (10 groups of images). A representation that is the same for every
    image gives 0 against itself and NaN against another.
    """
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    groups = [_Moments.of(x[start::GROUPS], y[start::GROUPS]) for start in range(min(GROUPS, len(x)))]
    whole = groups[0]
    for group in groups[1:]:
        whole = whole + group
    value = whole.cka_distance()
    if len(x) < 2 * GROUPS or not np.isfinite(value):
        return value, Interval(0.0, 1.0)
    parts = np.array([(whole - group).cka_distance() for group in groups])
    spread = _T_95 * np.sqrt((GROUPS - 1) / GROUPS * np.square(parts - parts.mean()).sum())
    return value, Interval(max(0.0, value - spread), min(1.0, value + spread))


def token_distance(reference: Tokens, other: Tokens) -> npt.NDArray[np.float64]:
    """Return each image's distance ‖z − z′‖₂ between representations (n, width), in units of the reference's spread.

    The spread is the root mean square distance of the reference's tokens from their mean, so 1 is as far as an image
    typically lies from the average image. (n,); where the reference does not vary, 0 or infinity.
    """
    x, y = np.asarray(reference, np.float64), np.asarray(other, np.float64)
    spread = np.sqrt(np.square(x - x.mean(axis=0)).sum(axis=1).mean())
    distance = np.linalg.norm(x - y, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(distance == 0, 0.0, distance / spread)


class _Moments:
    """Sums over images from which the centred cross-products follow; they add and subtract."""

    def __init__(self, n: int, sums: tuple[Tokens, Tokens], products: tuple[Tokens, Tokens, Tokens]) -> None:
        self.n, self.sums, self.products = n, sums, products

    @classmethod
    def of(cls, x: Tokens, y: Tokens) -> _Moments:
        return cls(len(x), (x.sum(axis=0), y.sum(axis=0)), (x.T @ x, y.T @ y, x.T @ y))

    def __add__(self, other: _Moments) -> _Moments:
        return self._combine(other, 1)

    def __sub__(self, other: _Moments) -> _Moments:
        return self._combine(other, -1)

    def _combine(self, other: _Moments, sign: int) -> _Moments:
        sums = [mine + sign * theirs for mine, theirs in zip(self.sums, other.sums, strict=True)]
        products = [mine + sign * theirs for mine, theirs in zip(self.products, other.products, strict=True)]
        return _Moments(self.n + sign * other.n, (sums[0], sums[1]), (products[0], products[1], products[2]))

    def cka_distance(self) -> float:
        (a, b), (xx, yy, xy) = self.sums, self.products
        centred = [xx - np.outer(a, a) / self.n, yy - np.outer(b, b) / self.n, xy - np.outer(a, b) / self.n]
        own_x, own_y, both = (float(np.linalg.norm(matrix)) for matrix in centred)
        floor = 1e-12 * float(np.linalg.norm(xx) + np.linalg.norm(yy))  # what rounding leaves of a constant
        if own_x <= floor or own_y <= floor:
            return 0.0 if own_x <= floor and own_y <= floor else float("nan")
        return min(1.0, max(0.0, 1 - both**2 / (own_x * own_y)))
