"""Several models' features of the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.measurement import Request
from ri_analysis.engine.models import Model
from ri_analysis.engine.outcomes import Section, labels
from ri_analysis.files import digest
from ri_analysis.measures.distances import DISTANCES, Outputs
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Progress

Points = npt.NDArray[np.float32]

POINTS, MOST_POINTS = 4_000, 50_000  # images on a map, by default (UMAP then compares all pairs) and at most
PRETRAINED, EXPERT = "pretrained", "expert"


@dataclass(frozen=True)
class Clouds:
    """Features of the same images under several models.

    `features`: model → (n, embed_dim) unit rows, `expert` being each image's own task's expert; they are not kept with
    a map, which is drawn without them. `images`: one row per
    point: `id` ("task:index"), `task`, `index`, `class`, and for each model `<model>_says`, `<model>_right`; for each
    but the expert `<model>_drift` = 1 − cosine to the expert's feature, measured in feature space. `keys` names each
    model's features, in the models' order.
    """

    features: dict[str, Points]
    images: pd.DataFrame
    keys: dict[str, str]

    @property
    def n(self) -> int:
        """Images, so points of each model."""
        return len(self.images)

    def renamed(self, old: str, new: str) -> Clouds:
        """Return the same with another name for one model."""

        def name(model: str) -> str:
            return new if model == old else model

        images = self.images.rename(columns={column: f"{new}{column.removeprefix(old)}" for column in self._of(old)})
        features = {name(model): each for model, each in self.features.items()}
        return Clouds(features, images, {name(model): key for model, key in self.keys.items()})

    def _of(self, model: str) -> list[str]:
        """Return the columns about one model."""
        return [str(column) for column in self.images if str(column).startswith(f"{model}_")]

    def with_model(self, name: str, other: Clouds) -> Clouds:
        """Return these clouds and one model of another's, which are of the same images."""
        features = self.features | {model: each for model, each in other.features.items() if model == name}
        images = pd.concat([self.images, other.images[other._of(name)]], axis=1)
        return Clouds(features, images, self.keys | {name: other.keys[name]})


@dataclass(frozen=True)
class Prototypes:
    """The heads' weights of every class as points among the images: `features` (k, embed_dim), unit rows.

    `names`: `task` and `class` of each. A vector added to all prototypes of a task changes none of its decisions, so
    each task's are moved by one onto the mean of its images' features, and scaled to unit length again: else text and
    images, which CLIP keeps apart, would share no region of a map.
    """

    features: Points
    names: pd.DataFrame


def prototypes(evaluator: Evaluator, clouds: Clouds) -> Prototypes:
    """Return the prototypes of the tasks that the clouds hold, moved onto the experts' features."""
    found, names = [], []
    for task in dict.fromkeys(clouds.images["task"]):
        head, own = evaluator.heads[task], clouds.features[EXPERT][(clouds.images["task"] == task).to_numpy()]
        weights = head.weight.detach().cpu().numpy().astype(np.float64)
        weights /= max(float(np.linalg.norm(weights, axis=1).mean()), 1e-12)
        moved = weights - weights.mean(axis=0) + own.mean(axis=0)
        found.append(moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12))
        names.append(pd.DataFrame({"task": task, "class": list(head.classes)}))
    return Prototypes(np.concatenate(found).astype(np.float32), pd.concat(names, ignore_index=True))


def collect(
    evaluator: Evaluator,
    recipes: Mapping[str, MergeRecipe],
    *,
    limit: int | None = None,
    most: int = POINTS,
    progress: Progress | None = None,
) -> Clouds:
    """Return the features of pretrained, experts, and the merges, under their names, on a seeded sample.

    It holds at most `most` images, shared among the tasks evenly, and of each task `limit` where these are fewer.
    """
    tasks = next(iter(recipes.values())).tasks
    sections, limit = evaluator.sections(tasks), _limit(tasks, limit, most)
    models = _models(evaluator, recipes)
    outputs = evaluator.measurement.outputs(requests(evaluator, recipes, limit, most), progress)
    experts = {task: each for found in outputs[: len(tasks)] for task, each in found.items()}
    found = {EXPERT: experts} | dict(zip(models, outputs[len(tasks) :], strict=True))
    found = {name: found[name] for name in (PRETRAINED, EXPERT, *recipes)}
    features = {name: np.concatenate([each[task].features.numpy() for task in tasks]) for name, each in found.items()}
    frames = [
        _images(evaluator, part, limit, {name: each[part.name] for name, each in found.items()}) for part in sections
    ]
    named = {
        name: [evaluator.measurement.features_name(model, part, limit) for part in sections]
        for name, model in models.items()
    }
    named[EXPERT] = [evaluator.measurement.features_name(evaluator.expert(part.name), part, limit) for part in sections]
    keys = {name: digest(*named[name]) for name in found}
    return Clouds(features, pd.concat(frames, ignore_index=True), keys)


def requests(
    evaluator: Evaluator, recipes: Mapping[str, MergeRecipe], limit: int | None = None, most: int = POINTS
) -> list[Request]:
    """Return the measurements that `collect` makes: each task's expert, then the other models."""
    tasks = next(iter(recipes.values())).tasks
    sections, limit = evaluator.sections(tasks), _limit(tasks, limit, most)
    own = [Request(evaluator.expert(part.name), (part,), limit) for part in sections]
    return own + [Request(model, sections, limit) for model in _models(evaluator, recipes).values()]


def _limit(tasks: Sequence[str], limit: int | None, most: int) -> int:
    share = max(1, most // len(tasks))
    return share if limit is None else min(limit, share)


def _models(evaluator: Evaluator, recipes: Mapping[str, MergeRecipe]) -> dict[str, Model]:
    return {PRETRAINED: evaluator.pretrained} | {name: evaluator.model(recipe) for name, recipe in recipes.items()}


def _images(evaluator: Evaluator, section: Section, limit: int, found: Mapping[str, Outputs]) -> pd.DataFrame:
    task, rows = section.name, section.rows(limit)
    names, right = np.array(evaluator.heads[task].classes), labels(section)[rows]
    table = pd.DataFrame({"id": [f"{task}:{row}" for row in rows], "task": task, "index": rows})
    table["class"] = names[right]
    for name, each in found.items():
        predicted = each.predicted.numpy()
        table[f"{name}_says"], table[f"{name}_right"] = names[predicted], predicted == right
        if name != EXPERT:
            table[f"{name}_drift"] = DISTANCES["cosine"].of(found[EXPERT], each).numpy()
    return table
