"""RI runs that studies need."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ri_analysis.engine import Evaluator
from ri_analysis.files import digest
from ri_analysis.hyperparameters import Value
from ri_analysis.locks import locked
from ri_analysis.progress import Counter, Progress
from ri_analysis.resolving import cost, identity, resolve
from ri_analysis.studies.conducting.work import bytes_of_images, ri_settings
from ri_analysis.suite import ImageSet, sample
from ri_analysis.suite.suite import RECORD, STUDIES

VERSION = "1"  # raise when a run changes its meaning


@dataclass(frozen=True)
class Adaptation:
    """An RI run that a study needs. Its result is the name of an expert set.

    `settings` are those that differ from the suite's; `count` images of the source are used, all by default.
    """

    auxiliary: str
    tasks: tuple[str, ...]
    settings: tuple[tuple[str, Value], ...] = ()
    seed: int = 0
    count: int | None = None

    def name(self, evaluator: Evaluator) -> str:
        """Return the name of the expert set: it changes with all that the set depends on."""
        suite = evaluator.suite
        weights = {name: value for name, value in suite.weight_digests().items() if name in ("pretrained", *self.tasks)}
        plan = [self.tasks, identity(ri_settings(evaluator, self.settings)), self.seed, weights]
        images = self._source(evaluator).digest
        heads = (evaluator.heads[task].weight.numpy().tobytes() for task in self.tasks)
        return f"{STUDIES}/{digest(VERSION, json.dumps(plan, sort_keys=True), images, *heads)[:16]}"

    def kept(self, evaluator: Evaluator) -> str | None:
        """Return the set's name when the run is finished, else None."""
        name = self.name(evaluator)
        return name if (self._folder(evaluator) / RECORD).exists() else None

    def unknown(self, evaluator: Evaluator) -> str:
        """Return the name that the set will have."""
        return self.name(evaluator)

    def cost(self, evaluator: Evaluator) -> int:
        """Return how many images it costs, counted as encodings: a step forward and back is worth three."""
        images, settings = len(self._source(evaluator)), ri_settings(evaluator, self.settings)
        trained, taught = cost(images, len(self.tasks), settings, evaluator.architecture)
        return 3 * trained + taught

    def compute(self, evaluator: Evaluator, progress: Progress | None = None) -> str:
        """Adapt the experts, go on where a stopped run was, or await another process's; return the set's name."""
        folder = self._folder(evaluator)
        with locked(folder, Counter(progress, 1).alive):
            if self.kept(evaluator) is None:
                resolve(
                    evaluator.suite,
                    auxiliary=self.auxiliary,
                    name=folder.name,
                    images=self.count,
                    settings=dict(self.settings),
                    tasks=self.tasks,
                    directory=folder,
                    device=evaluator.device,
                    seed=self.seed,
                    resume=True,
                    progress=progress,
                )
        return self.name(evaluator)

    def keep(self, evaluator: Evaluator, result: str, seconds: float) -> None:
        """Nothing more to keep: the run wrote its files."""

    def bytes_held(self, evaluator: Evaluator) -> int:
        """See Work."""
        return bytes_of_images(evaluator, self._source(evaluator), self.settings)

    def _source(self, evaluator: Evaluator) -> ImageSet:
        return sample(evaluator.suite.auxiliary_data(self.auxiliary), self.count, self.seed)

    def _folder(self, evaluator: Evaluator) -> Path:
        return evaluator.suite.resolved_set(self.name(evaluator)).directory
