"""A merged model that was distilled afterwards, measured like a point."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from ri_analysis import __version__
from ri_analysis.caches import discard, seal, sealed
from ri_analysis.engine.alone import alone
from ri_analysis.engine.evaluator import Progress
from ri_analysis.engine.points import Bench, Outcome, Point
from ri_analysis.engine.store import Record
from ri_analysis.files import digest
from ri_analysis.hyperparameters import Value
from ri_analysis.json_text import to_json
from ri_analysis.resolving import distil
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

    def kept(self, bench: Bench) -> Outcome | None:
        """See Work."""
        arrays = bench.evaluator.store.get(digest(self._name(bench), bench.place(self.point)))
        return None if arrays is None else Outcome.of(arrays)

    def blank(self, bench: Bench) -> Outcome:
        """See Work."""
        return self.point.blank(bench)

    def images(self, bench: Bench) -> int:
        """See Work: a step forward and back is worth three encodings; each expert sees all variants once."""
        values = self._values(bench)
        images = len(self._source(bench)) * int(values["views"])
        steps = int(values["steps"]) * min(int(values["batch"]), images)
        return 3 * steps + len(self.point.recipe.tasks) * images + self.point.images(bench)

    def held(self, bench: Bench) -> dict[str, int]:
        """See Work."""
        return self.point.held(bench) | bench.held_by_a_run(self._source(bench), self.settings)

    def carry_out(self, bench: Bench, progress: Progress | None = None) -> Outcome:
        """Distil, or go on where a stopped run was, and measure."""
        recipe, total, path = self.point.recipe, self.images(bench), self._path(bench)
        with alone(path, lambda: None if progress is None else progress(0, total)):
            found = self.kept(bench)
            if found is not None:
                return found
            if not sealed(path, path.stem):
                distil(
                    bench.evaluator.suite,
                    lambda: bench.evaluator.merged(recipe),
                    path,
                    auxiliary=self.auxiliary,
                    tasks=recipe.tasks,
                    settings=dict(self.settings),
                    device=bench.evaluator.device,
                    seed=self.seed,
                    progress=None if progress is None else lambda share: progress(round(share * total), total),
                )
                seal(path, path.stem)
            return bench.judge(load_file(path), self.point)

    def keep(self, bench: Bench, result: Outcome, seconds: float) -> None:
        """See Work; the distilled weights themselves are not needed any more."""
        description = asdict(self) | {"suite": bench.evaluator.suite.name}
        versions = to_json({"ri-analysis": __version__, "torch": torch.__version__})
        record = Record(to_json(description), versions, seconds)
        bench.evaluator.store.put(digest(self._name(bench), bench.place(self.point)), result.arrays(), record)
        discard(self._path(bench))

    def _values(self, bench: Bench) -> Mapping[str, Value]:
        return bench.ri_settings(self.settings)

    def _name(self, bench: Bench) -> str:
        """Return the name of the distilled weights: it changes with all that they depend on."""
        suite, recipe = bench.evaluator.suite, self.point.recipe
        weights = suite.weight_digests()
        teachers = [weights[task] for task in recipe.tasks]
        plan = json.dumps([dict(self._values(bench)), self.seed, teachers], sort_keys=True)
        return digest(VERSION, "distilled", bench.digest(recipe), plan, self._source(bench).digest)

    def _source(self, bench: Bench) -> ImageSet:
        return bench.evaluator.suite.auxiliary_data(self.auxiliary)

    def _path(self, bench: Bench) -> Path:
        return bench.evaluator.store.workspace / "distilled" / f"{self._name(bench)[:16]}.safetensors"
