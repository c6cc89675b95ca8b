"""Maps of features: models placed in one plane that the experts define."""

from __future__ import annotations

import re
import warnings
from typing import Any, NamedTuple

import numpy as np

from ri_analysis.analyses.clouds import EXPERT, POINTS, Clouds, Points, Prototypes
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.measurement import VERSION
from ri_analysis.engine.store import known
from ri_analysis.files import digest
from ri_analysis.progress import Counter, Progress

_NEIGHBOURS, _MIN_DISTANCE, _SEED = 15, 0.1, 0  # UMAP's own defaults; a seed makes it repeatable
_AGAIN, _PROTOTYPES = "again", "prototypes"
_PLACING = 1_000  # points placed between two looks at the cancel button


class Map(NamedTuple):
    """Coordinates (n, 2) of each model's points, and (k, 2) of the heads' prototypes, in map units.

    `says` describes the map, `floor` is its noise.
    """

    points: dict[str, Points]
    prototypes: Points
    says: str
    floor: float | None
    extent: float


# --- PCA --------------------------------------------------------------------------------------------------


def pca_map(clouds: Clouds, prototypes: Prototypes) -> Map:
    """Return every model's features, and the prototypes, on the two main axes of the experts' features."""
    from sklearn.decomposition import PCA  # slow to import

    with np.errstate(invalid="ignore"):  # features that are all the same have no variance to hold a share of
        fitted = PCA(2, svd_solver="covariance_eigh").fit(clouds.features[EXPERT].astype(np.float64))
    points = {name: fitted.transform(each).astype(np.float32) for name, each in clouds.features.items()}
    share = float(np.nan_to_num(fitted.explained_variance_ratio_.sum()))
    says = f"The two main axes of the experts' features; they explain {share:.0%} of these features' variance."
    placed = fitted.transform(prototypes.features).astype(np.float32)
    return Map(points, placed, says, None, _extent(points[EXPERT]))


# --- UMAP -------------------------------------------------------------------------------------------------


def umap_map(evaluator: Evaluator, clouds: Clouds, prototypes: Prototypes, progress: Progress | None = None) -> Map:
    """Return a UMAP fitted once on the experts' features, the other models' and the prototypes placed in it.

    Fit and placements are kept in the store. The noise floor is the median distance between where the fit put the
    experts' own points and where `transform` places them. `progress` counts points and may raise Cancelled.
    """
    own, others = _map_keys(clouds, prototypes)
    features = clouds.features | {_AGAIN: clouds.features[EXPERT], _PROTOTYPES: prototypes.features}
    absent = [name for name, key in others.items() if not evaluator.store.has(key)]
    if absent or not evaluator.store.has(own):
        # A fit and a placement take two looks at a point.
        steps = Counter(progress, 2 * (clouds.n + sum(len(features[name]) for name in absent)))
        placed = _Umap(evaluator, own, clouds.features[EXPERT], steps)
        for name in absent:
            evaluator.store.put(others[name], {"points": placed.place(features[name])})
            steps.advance(2 * len(features[name]))
    points = {EXPERT: _kept(evaluator, own)} | {name: _kept(evaluator, key) for name, key in others.items()}
    again, anchors = points.pop(_AGAIN), points.pop(_PROTOTYPES)
    floor = float(np.median(np.linalg.norm(again - points[EXPERT], axis=1)))
    says = "UMAP fitted on the experts' features; the other models' points are projected by its transform."
    if clouds.n > POINTS:
        says += " With this many images, nearest neighbours come from an approximate search."
    return Map({name: points[name] for name in clouds.features}, anchors, says, floor, _extent(points[EXPERT]))


def _map_keys(clouds: Clouds, prototypes: Prototypes) -> tuple[str, dict[str, str]]:
    """Return the names of the fit, and of what is placed in it: other models, prototypes, the experts once more."""
    own = digest(VERSION, "umap", clouds.keys[EXPERT], str(_NEIGHBOURS), str(_MIN_DISTANCE), str(_SEED))
    others = {name: digest(own, key) for name, key in clouds.keys.items() if name != EXPERT}
    anchors = digest(own, _PROTOTYPES, prototypes.features.tobytes())
    return own, others | {_AGAIN: digest(own, _AGAIN), _PROTOTYPES: anchors}


class _Epochs:
    """Takes what UMAP's progress bar writes, and counts it as so many steps; what that raises ends UMAP's work."""

    def __init__(self, steps: Counter, size: int) -> None:
        self._steps, self.start, self.size = steps, 0, size
        self.bar = {"disable": False, "file": self, "bar_format": "{n_fmt}/{total_fmt}", "ascii": True}

    def write(self, text: str) -> None:
        """Take what the bar writes."""
        if found := re.search(r"(\d+)/(\d+)", text):
            done, of = map(int, found.groups())
            self._steps.within(self.start + self.size * done // max(1, of))

    def flush(self) -> None:
        """Do nothing: a bar asks for it."""


class _Umap:
    """A fitted UMAP. Only its coordinates are kept on disk; its neighbour graph is rebuilt from the features."""

    def __init__(self, evaluator: Evaluator, key: str, features: Points, steps: Counter) -> None:
        steps.alive()
        import umap  # slow to import, and needed on request only

        self._features, self._steps, self._epochs = features, steps, _Epochs(steps, 2 * len(features))
        self._exact = len(features) <= POINTS
        settings: dict[str, Any] = {"n_neighbors": min(_NEIGHBOURS, len(features) - 1), "min_dist": _MIN_DISTANCE}
        settings |= {
            "metric": "precomputed" if self._exact else "cosine",
            "random_state": _SEED,
            "transform_seed": _SEED,
            "n_jobs": 1,
        }
        settings["tqdm_kwds"] = self._epochs.bar
        if not evaluator.store.has(key):
            fitted = umap.UMAP(**settings).fit(self._compared(features))
            evaluator.store.put(key, {"points": np.asarray(fitted.embedding_, np.float32)})
        else:
            fitted = umap.UMAP(**settings, transform_mode="graph").fit(self._compared(features))
            fitted.transform_mode, fitted.embedding_ = "embedding", _kept(evaluator, key)
        steps.advance(2 * len(features))
        self._fitted = fitted

    def place(self, features: Points) -> Points:
        """Return the coordinates of other features; each batch moves independently of the others."""
        parts = []
        for start in range(0, len(features), _PLACING):
            batch = features[start : start + _PLACING]
            self._epochs.start, self._epochs.size = 2 * start, 2 * len(batch)
            self._steps.within(self._epochs.start)
            parts.append(self._transform(batch))
        return np.concatenate(parts).astype(np.float32)

    def _transform(self, batch: Points) -> Points:
        # UMAP answers for the data it was fitted on without placing them: never hand it all of them at once.
        if len(batch) < len(self._fitted.embedding_) or len(batch) < 2:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Transforming new data with precomputed metric")
                return np.asarray(self._fitted.transform(self._compared(batch)), np.float32)
        half = len(batch) // 2
        return np.concatenate([self._transform(batch[:half]), self._transform(batch[half:])])

    def _compared(self, batch: Points) -> Points:
        """Return what UMAP takes: 1 − cosine of unit rows to the experts' (k, n), or the rows where that is too much.

        The distances are one product, where UMAP would go pair by pair.
        """
        if not self._exact:
            return batch
        distances: Points = np.clip(1 - batch @ self._features.T, 0, 2).astype(np.float32)
        return distances


def _kept(evaluator: Evaluator, key: str) -> Points:
    return known(evaluator.store.get(key))["points"].astype(np.float32)


def _extent(points: Points) -> float:
    """Return how wide a cloud is: the larger of its two central 95 % ranges."""
    low, high = np.quantile(points, [0.025, 0.975], axis=0)
    return float((high - low).max())
