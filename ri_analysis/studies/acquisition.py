"""Which places of a surface to measure next: where a Gaussian process is unsure of it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from ri_analysis.studies.surface import MARGIN, Axis, Floats

BATCH = 8  # places asked for at a time
TOLERANCE = 0.02  # standard deviation of accuracy up to which a place far from the plateau is not measured
SURE = 1.96  # standard deviations: 95 %

Place = tuple[float, float | None]  # None on no surface


def estimate(axes: tuple[Axis, Axis], known: Mapping[Place, float], asked: Sequence[Place]) -> tuple[Floats, Floats]:
    """Return the accuracy that a Gaussian process expects at places (n,), and its covariance there (n, n).

    It is fitted to the `known` accuracies (Rasmussen & Williams 2006; Matérn kernel, ν = 5/2, a length scale for each
    axis). All places are measured on the same images, so that what is estimated is what measuring would give on these.
    Deviations are raised until 95 % of what is known lies within 1.96 of them, each place left out in turn (their
    equation 5.12).
    """
    from sklearn.exceptions import ConvergenceWarning  # slow to import
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    inputs, scores = _unit(axes, list(known)), np.array(list(known.values()))
    centre, spread = scores.mean(), scores.std() or 1.0
    signal = ConstantKernel(1.0, (1e-2, 1e2)) * Matern([0.3, 0.3], (0.05, 10.0), nu=2.5)
    process = GaussianProcessRegressor(signal + WhiteKernel(1e-3, (1e-6, 1e-1)), random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a scale at its bound is no fault
        process.fit(inputs, (scores - centre) / spread)
    inverse = np.linalg.inv(process.kernel_(inputs))
    left_out = inverse @ ((scores - centre) / spread) / np.sqrt(np.diag(inverse))
    mean, covariance = process.predict(_unit(axes, asked), return_cov=True)
    raised = max(1.0, float(np.quantile(np.abs(left_out), 0.95)) / SURE)
    return mean * spread + centre, covariance * (raised * spread) ** 2


def next_places(
    axes: tuple[Axis, Axis], surfaces: Sequence[Mapping[Place, float]], grid: Sequence[Place]
) -> list[Place]:
    """Return the places of a grid to measure next, on all surfaces alike; none where enough is known.

    A place is worth it where it is not clear whether it lies within a point of its surface's best (the straddle
    heuristic, Bryan et al. 2005), or where its accuracy is not known to TOLERANCE. Surfaces that are flat all over
    tell nothing: then it is the whole rest.
    """
    rest = [place for place in grid if place not in surfaces[0]]
    if not rest or not any(np.ptp(list(known.values())) for known in surfaces):
        return rest
    guesses = [(max(known.values()) - MARGIN, *estimate(axes, known, rest)) for known in surfaces]
    found: list[int] = []
    while len(found) < min(BATCH, len(rest)):
        worth = np.full(len(rest), -np.inf)
        for level, mean, covariance in guesses:
            deviation = np.sqrt(np.maximum(np.diag(covariance), 0))
            worth = np.maximum(worth, np.maximum(SURE * deviation - np.abs(mean - level), deviation - TOLERANCE))
        worth[found] = -np.inf
        best = int(np.argmax(worth))
        if worth[best] <= 0:
            break
        found.append(best)
        for _, _, covariance in guesses:  # what measuring it will tell of its neighbours
            covariance -= np.outer(covariance[best], covariance[best]) / max(covariance[best, best], 1e-12)
    return [rest[number] for number in found]


def _unit(axes: tuple[Axis, Axis], places: Sequence[Place]) -> Floats:
    """Return places (n, 2) on axes from 0 to 1, which are logarithmic where values are in ratios."""
    columns = []
    for axis, values in zip(axes, np.array(places, dtype=np.float64).T, strict=True):
        ends, at = np.array([min(axis.values), max(axis.values)]), values
        if axis.log:
            ends, at = np.log(ends), np.log(at)
        columns.append((at - ends[0]) / (ends[1] - ends[0]))
    return np.stack(columns, axis=1)
