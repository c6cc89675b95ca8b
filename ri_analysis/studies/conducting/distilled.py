"""A merged model that was distilled afterwards, measured like a point."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file

from ri_analysis.caches import discard, seal, sealed
from ri_analysis.engine import Evaluator
from ri_analysis.engine.measurement import Request
from ri_analysis.engine.models import Model
from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.files import digest
from ri_analysis.hyperparameters import Value
from ri_analysis.progress import Counter, Progress
from ri_analysis.resolving import distil, identity, trained_passes
from ri_analysis.studies.conducting.lock import locked
from ri_analysis.studies.conducting.point import Point
from ri_analysis.studies.conducting.work import bytes_of_images, ri_settings
from ri_analysis.suite import ImageSet

VERSION = "1"  # raise when distilling changes its meaning


@dataclass(frozen=True)
class Distilled:
    """`point`'s merge, distilled from its experts on an auxiliary source, measured on the point's images.

    `settings` are the RI trainer's that differ from the suite's. A piece of a study's work, see Work.
    """

    point: Point
    auxiliary: str
    settings: tuple[tuple[str, Value], ...] = ()
    seed: int = 0

    def kept(self, evaluator: Evaluator) -> Outcomes | None:
        """See Work."""
        return evaluator.measurement.kept(self._request(evaluator))

    def unknown(self, evaluator: Evaluator) -> Outcomes:
        """See Work."""
        return self.point.unknown(evaluator)

    def cost(self, evaluator: Evaluator) -> int:
        """See Work: a step forward and back is worth three encodings; each expert sees all variants once."""
        values = self._values(evaluator)
        images = len(self._source(evaluator)) * int(values["views"])
        steps = trained_passes(images, values, evaluator.architecture)
        measured = sum(part.count(self.point.limit) for part in self.point.sections(evaluator))
        return 3 * steps + len(self.point.recipe.tasks) * images + measured

    def bytes_held(self, evaluator: Evaluator) -> int:
        """See Work."""
        return bytes_of_images(evaluator, self._source(evaluator), self.settings)

    def compute(self, evaluator: Evaluator, progress: Progress | None = None) -> Outcomes:
        """Distil, or go on where a stopped run was, and measure."""
        recipe, path = self.point.recipe, self._path(evaluator)
        with locked(path, Counter(progress, 1).alive):
            found = self.kept(evaluator)
            if found is not None:
                return found
            if not sealed(path, path.stem):
                distil(
                    evaluator.suite,
                    lambda: evaluator.merged(recipe),
                    path,
                    auxiliary=self.auxiliary,
                    tasks=recipe.tasks,
                    settings=dict(self.settings),
                    device=evaluator.device,
                    seed=self.seed,
                    progress=progress,
                )
                seal(path, path.stem)
            return evaluator.measurement.outcomes([self._request(evaluator)])[0]

    def keep(self, evaluator: Evaluator, result: Outcomes, seconds: float) -> None:
        """See Work; the distilled weights themselves are not needed any more."""
        evaluator.measurement.keep(self._request(evaluator), result, seconds)
        discard(self._path(evaluator))

    def _request(self, evaluator: Evaluator) -> Request:
        path = self._path(evaluator)
        model = Model("distilled model", self._name(evaluator), lambda _: load_file(path))
        return Request(model, self.point.sections(evaluator), self.point.limit)

    def _values(self, evaluator: Evaluator) -> Mapping[str, Value]:
        return ri_settings(evaluator, self.settings)

    def _name(self, evaluator: Evaluator) -> str:
        """Return the name of the distilled weights: it changes with all that they depend on."""
        suite, recipe = evaluator.suite, self.point.recipe
        weights = suite.weight_digests()
        teachers = [weights[task] for task in recipe.tasks]
        plan = json.dumps([identity(self._values(evaluator)), self.seed, teachers], sort_keys=True)
        return digest(VERSION, "distilled", evaluator.digest(recipe), plan, self._source(evaluator).digest)

    def _source(self, evaluator: Evaluator) -> ImageSet:
        return evaluator.suite.auxiliary_data(self.auxiliary)

    def _path(self, evaluator: Evaluator) -> Path:
        return evaluator.store.workspace / "distilled" / f"{self._name(evaluator)[:16]}.safetensors"
