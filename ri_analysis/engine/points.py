"""Points: one merge measured on one kind of images, evaluated once and kept whole with how it came about."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from ri_analysis import __version__
from ri_analysis.encoder import Encoder
from ri_analysis.engine.alone import alone
from ri_analysis.engine.directions import Directions
from ri_analysis.engine.evaluator import Evaluator, Progress, Weights
from ri_analysis.engine.precision import number_format
from ri_analysis.engine.store import Arrays, Record
from ri_analysis.errors import InputError
from ri_analysis.files import digest
from ri_analysis.hyperparameters import Value
from ri_analysis.json_text import to_json
from ri_analysis.merging import MergeRecipe
from ri_analysis.resolving import ResolveProgress, cost, default_settings, resolve
from ri_analysis.statistics import kl_divergence
from ri_analysis.suite import ORIGINAL, ImageSet, sample
from ri_analysis.suite.images import in_memory
from ri_analysis.suite.suite import RECORD, STUDIES
from ri_analysis.task_vectors import TaskVectors

TEST, VALIDATION, UNSEEN, LEFT_OUT, JOINT, AUXILIARY = "test", "validation", "unseen", "left-out", "joint", "auxiliary:"
VERSION = "1"  # raise when a point changes its meaning, so that kept ones are not mistaken for new ones

Flags = npt.NDArray[np.bool_]
Nats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Outcome:
    """What a point measured, image by image.

    `correct` maps a section (a task, an unseen domain) to which of its images are right, (n,) bool; `divergence` to
    KL(expert ‖ merged) of each, (n,) nats. A section is missing where there are no labels, or no expert of its own.
    """

    correct: dict[str, Flags]
    divergence: dict[str, Nats]

    @cached_property
    def accuracy(self) -> float:
        """Mean over sections of the accuracy."""
        return float(np.mean([values.mean() for values in self.correct.values()]))

    @cached_property
    def interference(self) -> float:
        """Mean over sections of the divergence, in nats."""
        return float(np.mean([values.mean(dtype=np.float64) for values in self.divergence.values()]))

    @property
    def n(self) -> int:
        """Images looked at, over all sections."""
        sizes = {name: len(values) for name, values in (*self.divergence.items(), *self.correct.items())}
        return sum(sizes.values())

    def arrays(self) -> Arrays:
        """Return the outcome as the store keeps it: few arrays, for reading one costs more than what is in it."""
        parts: dict[str, Mapping[str, npt.NDArray[Any]]] = {"correct": self.correct, "divergence": self.divergence}
        layout = {name: {key: len(values) for key, values in part.items()} for name, part in parts.items()}
        joined: Arrays = {name: np.concatenate(list(part.values())) for name, part in parts.items() if part}
        return joined | {"layout": np.frombuffer(json.dumps(layout).encode(), dtype=np.uint8)}

    @classmethod
    def of(cls, arrays: Arrays) -> Outcome:
        """Return the outcome that `arrays` wrote down."""
        layout = json.loads(arrays["layout"].tobytes())
        return cls(*(_split(arrays.get(name), layout[name]) for name in ("correct", "divergence")))


def _split(values: npt.NDArray[Any] | None, sizes: Mapping[str, int]) -> dict[str, npt.NDArray[Any]]:
    if values is None:
        return {}
    ends = np.cumsum(list(sizes.values()))
    return dict(zip(sizes, np.split(values, ends[:-1]), strict=True))


@dataclass(frozen=True)
class Point:
    """A merge by `recipe`, measured on one kind of images, at most `limit` of each section (all by default).

    `on` is "test" or "validation": images of the merged tasks; "left-out": test images of the tasks that were not
    merged; "unseen": the unseen domains whose tasks were merged; "joint": test images of the merged tasks, one
    classifier over all their labels; "auxiliary:NAME": an auxiliary source, seen through every merged task's head.
    """

    recipe: MergeRecipe
    on: str = TEST
    limit: int | None = None

    def key(self, bench: Bench) -> str:
        """Return the name of its outcome: it changes with all that the outcome depends on."""
        return digest(VERSION, "point", bench.digest(self.recipe), bench.place(self))

    def kept(self, bench: Bench) -> Outcome | None:
        """Return its outcome from the store, None when it is not there."""
        if not bench.has_experts(self.recipe):
            return None
        if self not in bench.known:
            arrays = bench.evaluator.store.get(self.key(bench))
            if arrays is None:
                return None
            bench.known[self] = Outcome.of(arrays)
        return bench.known[self]

    def blank(self, bench: Bench) -> Outcome:
        """Return an outcome of the right shape in which nothing is known, for counting what follows."""
        parts = bench.sections(self)
        return Outcome(
            {part.name: np.zeros(len(part.images), np.bool_) for part in parts if part.labelled},
            {part.name: np.zeros(len(part.images), np.float32) for part in parts if part.expert is not None},
        )

    def images(self, bench: Bench) -> int:
        """Return how many images have to be encoded for it."""
        return sum(
            len(images) for images in {part.images.digest: part.images for part in bench.sections(self)}.values()
        )

    def held(self, bench: Bench) -> dict[str, int]:
        """See Work."""
        return {part.images.digest: bench.bytes_of(len(part.images)) for part in bench.sections(self)}

    def carry_out(self, bench: Bench, progress: Progress | None = None) -> Outcome:
        """Merge and measure."""
        return bench.outcome(self, progress)

    def keep(self, bench: Bench, result: Outcome, seconds: float) -> None:
        """Put its outcome into the store, with how it came about."""
        description = to_json({**asdict(self), "recipe": self.recipe.to_dict(), "suite": bench.evaluator.suite.name})
        versions = to_json({"ri-analysis": __version__, "torch": torch.__version__})
        record = Record(description, versions, seconds)
        bench.known[self] = result
        bench.evaluator.store.put(self.key(bench), result.arrays(), record)


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

    def name(self, bench: Bench) -> str:
        """Return the name of the expert set: it changes with all that the set depends on."""
        suite = bench.evaluator.suite
        weights = {name: value for name, value in suite.weight_digests().items() if name in ("pretrained", *self.tasks)}
        plan = [self.tasks, bench.ri_settings(self.settings), self.seed, weights]
        images, heads = self._source(bench).digest, map(bench.head, self.tasks)
        return f"{STUDIES}/{digest(VERSION, json.dumps(plan, sort_keys=True), images, *heads)[:16]}"

    def kept(self, bench: Bench) -> str | None:
        """Return the set's name when the run is finished, else None."""
        name = self.name(bench)
        return name if (self._folder(bench) / RECORD).exists() else None

    def blank(self, bench: Bench) -> str:
        """Return the name that the set will have."""
        return self.name(bench)

    def images(self, bench: Bench) -> int:
        """Return how many images it costs, counted as encodings: a step forward and back is worth three."""
        trained, taught = cost(len(self._source(bench)), len(self.tasks), bench.ri_settings(self.settings))
        return 3 * trained + taught

    def held(self, bench: Bench) -> dict[str, int]:
        """See Work."""
        return bench.held_by_a_run(self._source(bench), self.settings)

    def carry_out(self, bench: Bench, progress: Progress | None = None) -> str:
        """Adapt the experts, go on where a stopped run was, or await another process's; return the set's name."""
        folder, total = self._folder(bench), self.images(bench)

        def report(state: ResolveProgress) -> None:
            if progress is not None:
                progress(round(state.fraction * total), total)

        with alone(folder, lambda: None if progress is None else progress(0, total)):
            if self.kept(bench) is None:
                resolve(
                    bench.evaluator.suite,
                    auxiliary=self.auxiliary,
                    name=folder.name,
                    images=self.count,
                    settings=dict(self.settings),
                    tasks=self.tasks,
                    directory=folder,
                    device=bench.evaluator.device,
                    seed=self.seed,
                    resume=True,
                    progress=report,
                )
        return self.name(bench)

    def keep(self, bench: Bench, result: str, seconds: float) -> None:
        """Nothing more to keep: the run wrote its files."""

    def _source(self, bench: Bench) -> ImageSet:
        return sample(bench.evaluator.suite.auxiliary_data(self.auxiliary), self.count, self.seed)

    def _folder(self, bench: Bench) -> Path:
        return bench.evaluator.suite.resolved_set(self.name(bench)).directory


class Work(Hashable, Protocol):
    """A piece of a study's work: it can be told whether it is done, what it costs, and to be done by any process."""

    def kept(self, bench: Bench) -> Any:
        """Return its result where it was done before, else None."""

    def blank(self, bench: Bench) -> Any:
        """Return a result of the right shape in which nothing is known, for counting what follows."""

    def images(self, bench: Bench) -> int:
        """Return what it costs, in images encoded."""

    def held(self, bench: Bench) -> dict[str, int]:
        """Return the bytes of the images that it holds in memory, by the name of the images."""

    def carry_out(self, bench: Bench, progress: Progress | None = None) -> Any:
        """Do it; return a result that can be pickled."""

    def keep(self, bench: Bench, result: Any, seconds: float) -> None:
        """Note the result, so that `kept` finds it."""


@dataclass(frozen=True)
class Section:
    """Images that are judged together: through which tasks' heads, joined, and against which task's expert."""

    name: str
    images: ImageSet
    tasks: tuple[str, ...]
    labelled: bool
    expert: str | None
    first: int = 0  # place of label 0 among the joined classes


@dataclass
class Bench:
    """An evaluator set up for many points: what several share is loaded, decoded and computed once.

    `float32` asks for that format also where bfloat16 agrees with it.
    """

    evaluator: Evaluator
    float32: bool = False
    known: dict[Point, Outcome] = field(default_factory=dict)
    _directions: Directions = field(default_factory=Directions)
    _experts: dict[tuple[str, str], torch.Tensor] = field(default_factory=dict)
    _digests: dict[tuple[str, str, tuple[str, ...]], dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Caches of this bench alone: a class-wide one would keep every suite alive.
        self._vectors = lru_cache(maxsize=8)(self._read_vectors)
        self._sections = lru_cache(maxsize=64)(self._find_sections)
        self._place = lru_cache(maxsize=64)(self._name_place)
        self._held = lru_cache(maxsize=256)(self._hold)

    @cached_property
    def number_format(self) -> torch.dtype:
        """The format in which merges are measured."""
        return torch.float32 if self.float32 else number_format(self.evaluator)

    @cached_property
    def encoder(self) -> Encoder:
        """The tower that measures merges."""
        evaluator, dtype = self.evaluator, self.number_format
        if dtype == torch.float32:
            return evaluator.encoder
        return Encoder(evaluator.architecture, evaluator.device, dtype=dtype)

    def digest(self, recipe: MergeRecipe) -> str:
        """Return the name of the model that a recipe makes."""
        return recipe.digest(self._ingredients(recipe))

    def head(self, task: str) -> bytes:
        """Return a task's head as bytes, to name what depends on it."""
        return self.evaluator.heads[task].weight.numpy().tobytes()

    def has_experts(self, recipe: MergeRecipe) -> bool:
        """Whether the recipe's experts exist: those that a study makes do not before their run, and come one by one."""
        if not recipe.experts.startswith(f"{STUDIES}/"):
            return True
        return set(recipe.tasks) <= set(self.evaluator.suite.set_tasks(recipe.experts))

    def sections(self, point: Point) -> tuple[Section, ...]:
        """Return the images that a point is about."""
        return self._sections(point.recipe.tasks, point.on, point.limit)

    def place(self, point: Point) -> str:
        """Return the name of all that an outcome depends on besides the merged weights."""
        return self._place(point.recipe.tasks, point.on, point.limit)

    def outcome(self, point: Point, progress: Progress | None) -> Outcome:
        """Merge by the point's recipe and measure."""
        recipe, sections = point.recipe, self.sections(point)
        total = point.images(self)
        for section in sections:
            if section.expert is not None:
                self._expert_logits(section.expert, section.images)
        weights = self._directions.merged(
            self._vectors(recipe.experts),
            recipe,
            self._ingredients(recipe),
            self.evaluator.statistics(recipe, progress),
            None if progress is None else lambda _done, _total: progress(0, total),
        )
        return self.judge(weights, point, progress)

    def judge(self, weights: Weights, point: Point, progress: Progress | None = None) -> Outcome:
        """Measure any weights on a point's images."""
        sections, total = self.sections(point), point.images(self)
        unique = {section.images.digest: section.images for section in sections}
        found = self.encoder.features_of_many(
            weights,
            [(images, None) for images in unique.values()],
            source=point.recipe.source,
            progress=None if progress is None else lambda done: progress(done, total),
        )
        features = dict(zip(unique, found, strict=True))
        correct: dict[str, Flags] = {}
        divergence: dict[str, Nats] = {}
        for section in sections:
            logits = self._logits(section.tasks, features[section.images.digest])
            if section.labelled:
                assert section.images.labels is not None  # labelled says so
                correct[section.name] = logits.argmax(dim=1).numpy() == section.images.labels + section.first
            if section.expert is not None:
                reference = self._expert_logits(section.expert, section.images)
                divergence[section.name] = kl_divergence(reference, logits).clamp(min=0).numpy()
        return Outcome(correct, divergence)

    def bytes_of(self, images: int) -> int:
        """Return the memory that so many decoded images take."""
        return images * 3 * self.evaluator.architecture.image_size**2

    def held_by_a_run(self, source: ImageSet, settings: Iterable[tuple[str, Value]]) -> dict[str, int]:
        """Return the bytes of an RI run's images, under one name for all runs: one of them is under way at a time."""
        variants = len(source) * int(self.ri_settings(settings)["views"])
        return {"auxiliary images of a run": self.bytes_of(variants)}

    def ri_settings(self, changed: Iterable[tuple[str, Value]]) -> dict[str, Value]:
        """Return all settings of an RI run of which `changed` differ from the suite's."""
        return default_settings(self.evaluator.suite) | dict(changed)

    # --- images -------------------------------------------------------------------------------------------

    def _find_sections(self, tasks: tuple[str, ...], on: str, limit: int | None) -> tuple[Section, ...]:
        suite = self.evaluator.suite
        if on in (TEST, VALIDATION):
            return tuple(Section(task, self._held(task, on, limit), (task,), True, task) for task in tasks)
        if on == LEFT_OUT:
            others = [task for task in suite.tasks if task not in tasks]
            return tuple(Section(task, self._held(task, TEST, limit), (task,), True, None) for task in others)
        if on == JOINT:
            sizes = [len(self.evaluator.heads[task].classes) for task in tasks]
            firsts = np.cumsum([0, *sizes])
            return tuple(
                Section(task, self._held(task, TEST, limit), tasks, True, None, int(first))
                for task, first in zip(tasks, firsts, strict=False)
            )
        if on == UNSEEN:
            domains = [domain for domain in suite.spec.unseen if set(domain.tasks) <= set(tasks)]
            return tuple(
                Section(domain.name, self._held(domain.name, UNSEEN, limit), domain.tasks, True, _only(domain.tasks))
                for domain in domains
            )
        source = on.removeprefix(AUXILIARY)
        if source == on:
            raise InputError(f"expected a kind of images, found {on!r}")
        return tuple(Section(task, self._held(source, AUXILIARY, limit), (task,), False, task) for task in tasks)

    def _hold(self, name: str, kind: str, limit: int | None) -> ImageSet:
        """Return images decoded and resized once, where memory allows."""
        suite = self.evaluator.suite
        if kind == AUXILIARY:
            images = suite.auxiliary_data(name)
        else:
            images = suite.unseen_data(name) if kind == UNSEEN else suite.task_data(name, kind)
        return in_memory(sample(images, limit), self.evaluator.architecture.image_size)

    def _name_place(self, tasks: tuple[str, ...], on: str, limit: int | None) -> str:
        parts = [self.evaluator.architecture.fingerprint, self.evaluator.suite.pretrained.digest]
        for section in self._sections(tasks, on, limit):
            heads = map(self.head, section.tasks)
            expert = "" if section.expert is None else self.evaluator.suite.expert(section.expert).digest
            parts.append(digest(section.name, section.images.digest, str(section.first), expert, *heads))
        if self.number_format != torch.float32:
            parts.append(str(self.number_format))
        return digest(*parts)

    # --- models -------------------------------------------------------------------------------------------

    def _ingredients(self, recipe: MergeRecipe) -> dict[str, str]:
        """Return the digests of what is merged; looking them up touches every file, so they are kept."""
        key = (recipe.experts, recipe.method, recipe.tasks)
        if key not in self._digests:
            self._digests[key] = self.evaluator.ingredients(recipe)
        return self._digests[key]

    def _logits(self, tasks: Iterable[str], features: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.evaluator.heads[task].logits(features) for task in tasks], dim=1)

    def _expert_logits(self, task: str, images: ImageSet) -> torch.Tensor:
        """Return the logits of a task's original expert; kept in memory, for all points need them."""
        key = (task, images.digest)
        if key not in self._experts:
            vectors = self._vectors(ORIGINAL)
            weights = ((name, vectors.expert(name, task)) for name in vectors.names)
            features = self.encoder.features(weights, images, source=str(self.evaluator.suite.expert(task).path))
            self._experts[key] = self.evaluator.heads[task].logits(features)
        return self._experts[key]

    def _read_vectors(self, experts: str) -> TaskVectors:
        return self.evaluator.suite.task_vectors(experts)


def _only(tasks: tuple[str, ...]) -> str | None:
    return tasks[0] if len(tasks) == 1 else None
