"""The models of an analysis by name, and what each makes of a probe of the images, kept in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from ri_analysis.checkpoints import vision_tower
from ri_analysis.engine.evaluator import Evaluator, Progress
from ri_analysis.engine.store import Arrays, known
from ri_analysis.measures.distances import Outputs
from ri_analysis.merging import MergeRecipe
from ri_analysis.suite import ORIGINAL, ImageSet, stratified

Weights = Mapping[str, torch.Tensor] | Iterable[tuple[str, torch.Tensor]]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Model:
    """Weights that can be asked for, under a digest that names them; `name` is what errors call them."""

    name: str
    digest: str
    weights: Callable[[], Weights]


def pretrained_model(evaluator: Evaluator) -> Model:
    """Return θ₀."""
    checkpoint = evaluator.suite.pretrained
    return Model(str(checkpoint.path), checkpoint.digest, lambda: vision_tower(checkpoint))


def expert_model(evaluator: Evaluator, task: str, experts: str = ORIGINAL) -> Model:
    """Return one expert of an expert set."""
    vectors = evaluator.suite.task_vectors(experts)  # reads tensors with the same checks as a merge
    return Model(
        str(evaluator.suite.expert(task, experts).path),
        evaluator.suite.expert(task, experts).digest,
        lambda: ((name, vectors.expert(name, task)) for name in vectors.names),
    )


def merged_model(evaluator: Evaluator, recipe: MergeRecipe) -> Model:
    """Return the model that `recipe` makes."""
    return Model(recipe.source, evaluator.digest(recipe), lambda: evaluator.merged(recipe))


def subset_recipe(recipe: MergeRecipe, tasks: Iterable[str]) -> MergeRecipe:
    """Return the same merge, hyperparameters included, of fewer experts."""
    wanted = set(tasks)
    kept = tuple(task for task in recipe.tasks if task in wanted)
    coefficients = tuple((task, value) for task, value in recipe.coefficients if task in wanted)
    return replace(recipe, tasks=kept, coefficients=coefficients)


# --- images -----------------------------------------------------------------------------------------------


def probe(evaluator: Evaluator, task: str, limit: int | None) -> tuple[ImageSet, Indices]:
    """Return a task's test images and which of them a probe of at most `limit` takes: stratified, seeded, nested."""
    images = evaluator.suite.task_data(task)
    return images, stratified(images.labels, len(images), len(images) if limit is None else limit)


def probe_size(evaluator: Evaluator, tasks: Sequence[str], limit: int | None) -> int:
    """Return how many images a probe of `tasks` holds."""
    return sum(len(probe(evaluator, task, limit)[1]) for task in tasks)


def probe_labels(evaluator: Evaluator, task: str, limit: int | None) -> Indices:
    """Return the labels of a probe's images."""
    images, indices = probe(evaluator, task, limit)
    assert images.labels is not None  # task data is always read with labels
    return images.labels[indices]


# --- progress ---------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """One running count over several passes; `advance` may raise Cancelled, as the progress it reports to does."""

    progress: Progress | None
    total: int
    done: int = field(default=0)

    def within(self, step: int) -> None:
        """Say that `step` images of the pass under way are done."""
        if self.progress is not None:
            self.progress(min(self.done + step, self.total), self.total)

    def advance(self, count: int) -> None:
        """Say that a pass over `count` images, or as much as it stands for, is finished."""
        self.done += count
        self.within(0)


# --- outputs ----------------------------------------------------------------------------------------------


def missing(evaluator: Evaluator, model: Model, tasks: Sequence[str], limit: int | None) -> list[str]:
    """Return the tasks whose features under `model` are not in the store."""
    return [task for task in tasks if not evaluator.store.has(_features_key(evaluator, model, task, limit))]


def outputs(
    evaluator: Evaluator, model: Model, tasks: Sequence[str], limit: int | None = None, tally: Tally | None = None
) -> dict[str, Outputs]:
    """Return what `model` makes of each task's probe, seen through that task's head; features come from the store."""
    tally = tally or Tally(None, 0)
    keys = {task: _features_key(evaluator, model, task, limit) for task in tasks}
    kept: dict[str, Arrays | None] = {task: evaluator.store.get(key) for task, key in keys.items()}
    absent = [task for task in tasks if kept[task] is None]
    if absent:
        sets = [probe(evaluator, task, limit) for task in absent]
        found = evaluator.encoder.features_of_many(model.weights(), sets, source=model.name, progress=tally.within)
        for task, features in zip(absent, found, strict=True):
            kept[task] = {"features": features.numpy()}
            evaluator.store.put(keys[task], {"features": features.numpy()})
        tally.advance(probe_size(evaluator, absent, limit))
    return {task: _outputs(evaluator, task, known(arrays)) for task, arrays in kept.items()}


def _outputs(evaluator: Evaluator, task: str, arrays: Arrays) -> Outputs:
    features = torch.from_numpy(arrays["features"].astype(np.float32))
    return Outputs(features, evaluator.heads[task].logits(features))


def _features_key(evaluator: Evaluator, model: Model, task: str, limit: int | None) -> str:
    return evaluator.answer_key("features", model.digest, task, "test", limit)
