"""The plane θ₀ + α₁τ₁ + α₂τ₂ of two experts: where do they stop disturbing each other?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from ri_analysis.engine.evaluator import Evaluator, Progress
from ri_analysis.engine.models import Model, Tally, probe, probe_size
from ri_analysis.engine.store import known
from ri_analysis.errors import InputError
from ri_analysis.files import digest
from ri_analysis.measures.disentanglement import disentanglement_table
from ri_analysis.suite import ORIGINAL

Classes = npt.NDArray[np.int64]

ALPHAS = tuple(float(alpha) for alpha in np.linspace(-1, 2, 13))
PLANE_LIMIT = 64  # images a task


def pair_plane(
    evaluator: Evaluator,
    pair: tuple[str, str],
    experts: str = ORIGINAL,
    *,
    alphas: Sequence[float] = ALPHAS,
    limit: int | None = PLANE_LIMIT,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return the weight disentanglement error over a square grid of two experts' coefficients.

    See `disentanglement_table`. Each grid point is kept as soon as it is known, so a cancelled run goes on where it
    stopped. Raises InputError when both experts are the same.
    """
    if pair[0] == pair[1]:
        raise InputError(f"the plane needs two different experts, found {pair[0]!r} twice")
    plane = _Plane(evaluator, pair, experts, limit)
    points = [(first, second) for first in alphas for second in alphas]
    tally = Tally(progress, (len(points) + len(alphas)) * probe_size(evaluator, pair, limit))
    own = [
        {alpha: plane.predicted((alpha, 0.0), pair[:1], tally)[pair[0]] for alpha in alphas},
        {alpha: plane.predicted((0.0, alpha), pair[1:], tally)[pair[1]] for alpha in alphas},
    ]
    found = {}
    for point in points:
        joint = plane.predicted(point, pair, tally)
        found[point] = {task: own[place][point[place]] != joint[task] for place, task in enumerate(pair)}
    return disentanglement_table(found)


class _Plane:
    """Predictions of the models θ₀ + α₁τ₁ + α₂τ₂ on a probe, kept in the store."""

    def __init__(self, evaluator: Evaluator, pair: tuple[str, str], experts: str, limit: int | None) -> None:
        self._evaluator, self._limit = evaluator, limit
        self._vectors = evaluator.suite.task_vectors(experts, pair)
        self._digests = [evaluator.suite.expert(task, experts).digest for task in pair]

    def predicted(self, amounts: tuple[float, float], tasks: Sequence[str], tally: Tally) -> dict[str, Classes]:
        """Return the classes (n,) that the model at `amounts` predicts for the images of each of `tasks`."""
        store, model = self._evaluator.store, self._model(amounts)
        name = self._evaluator.answer_key
        keys = {task: name("predicted", model.digest, task, "test", self._limit) for task in tasks}
        absent = [task for task, key in keys.items() if not store.has(key)]
        if absent:
            sets = [probe(self._evaluator, task, self._limit) for task in absent]
            read = self._evaluator.encoder.features_of_many
            features = read(model.weights(), sets, source=model.name, progress=tally.within)
            for task, each in zip(absent, features, strict=True):
                logits = self._evaluator.heads[task].logits(each)
                store.put(keys[task], {"predicted": logits.argmax(dim=1).to(torch.int32).numpy()})
        tally.advance(probe_size(self._evaluator, tasks, self._limit))
        return {task: known(store.get(key))["predicted"].astype(np.int64) for task, key in keys.items()}

    def _model(self, amounts: tuple[float, float]) -> Model:
        # An expert without a part in a point has none in its name either: the axes serve many planes.
        parts = [f"{name} {amount!r}" for name, amount in zip(self._digests, amounts, strict=True) if amount]
        terms = (f"{amount:+g}·τ of {task}" for task, amount in zip(self._vectors.tasks, amounts, strict=True))
        return Model(f"pretrained {' '.join(terms)}", digest("plane", *sorted(parts)), lambda: self._weights(amounts))

    def _weights(self, amounts: tuple[float, float]) -> Iterator[tuple[str, torch.Tensor]]:
        vectors = self._vectors
        for name in vectors.names:
            start = tensor = vectors.pretrained(name)
            if vectors.is_float(name):
                for task, amount in zip(vectors.tasks, amounts, strict=True):
                    if amount:
                        tensor = tensor + amount * (vectors.expert(name, task) - start)
            yield name, tensor
