"""The engine's door: a suite, a device and a store, and what recipes make of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import pandas as pd
import torch

from ri_analysis.checkpoints import read_checkpoint
from ri_analysis.encoder import Architecture, Encoder, Head, load_heads, pick_device
from ri_analysis.encoder.activation import fitting_architecture, require_activation
from ri_analysis.engine.evaluation import Evaluation
from ri_analysis.engine.measurement import Measurement, Request
from ri_analysis.engine.merged_vectors import FEW, MergedVectors
from ri_analysis.engine.models import Model, expert_model, file_model, pretrained_model
from ri_analysis.engine.outcomes import Flags, Outcomes, Section
from ri_analysis.engine.precision import Trial
from ri_analysis.engine.sections import CROSSTALK, TEST, sections
from ri_analysis.engine.shipped import FILE
from ri_analysis.engine.store import Store, default_workspace
from ri_analysis.engine.task_statistics import TaskStatistics
from ri_analysis.errors import InputError
from ri_analysis.measures import crosstalk_table
from ri_analysis.merging import MergeRecipe, merge
from ri_analysis.merging.method import Statistics
from ri_analysis.progress import Progress
from ri_analysis.suite import ORIGINAL, Suite
from ri_analysis.task_vectors import TaskVectors


class Evaluator:
    """A suite with its tower, heads and store: everything a measurement needs.

    Parameters
    ----------
    suite: the opened suite.
    workspace: folder of the store (the user's data directory by default).
    device: "auto", "cpu", "cuda" …
    number_format: what to measure in; by default bfloat16 where a trial shows it faster and in agreement with float32.
    store: another store than the workspace's.
    fresh: leave out the answers that come with the suite, so that everything is measured here.
    """

    def __init__(
        self,
        suite: Suite,
        workspace: Path | None = None,
        device: str = "auto",
        *,
        number_format: torch.dtype | None = None,
        store: Store | None = None,
        fresh: bool = False,
    ) -> None:
        self.suite, self.device = suite, pick_device(device)
        self._format = number_format
        shipped = None if fresh else suite.spec.path.parent / FILE
        self.store = store or Store(workspace or default_workspace(), suite.files.check, shipped=shipped)
        self._merged_vectors = MergedVectors(most=FEW)
        self._task_statistics = TaskStatistics(
            suite, self.store.workspace / "statistics", self.device, lambda: self.architecture, lambda: self.heads
        )
        # Caches of this evaluator alone: class-wide ones would keep every suite alive.
        self._vectors = lru_cache(maxsize=8)(suite.task_vectors)
        self._digests = lru_cache(maxsize=4096)(self._ingredients)  # all merges of 11 experts, of two sets
        self._weights = lru_cache(maxsize=64)(suite.weight_digests)
        self._require_fitting = lru_cache(maxsize=1024)(self._check_activation)
        self._sections = lru_cache(maxsize=128)(self._find_sections)

    @cached_property
    def architecture(self) -> Architecture:
        """The suite's architecture. Raises InputError where the pretrained model was made for another activation."""
        return fitting_architecture(self.suite)

    @cached_property
    def heads(self) -> dict[str, Head]:
        """Every task's head, checked against its data."""
        return load_heads(self.suite, self.architecture)

    @property
    def number_format(self) -> torch.dtype:
        """The format in which models are measured; see `choose_number_format`."""
        return self.choose_number_format()

    def choose_number_format(self, progress: Progress | None = None) -> torch.dtype:
        """Return the format in which models are measured: a trial of a few images decides where none has before."""
        if self._format is None:
            self._format = self._trial.number_format(progress)
        return self._format

    @cached_property
    def _trial(self) -> Trial:
        return Trial(self.suite, self.store, self.architecture, self.heads, self.device)

    @cached_property
    def encoder(self) -> Encoder:
        """The vision tower."""
        return Encoder(self.architecture, self.device, dtype=self.number_format)

    @cached_property
    def measurement(self) -> Measurement:
        """What measures this suite's models."""
        return Measurement(self.suite, self.store, self.encoder, self.heads)

    def recipe(
        self,
        method: str,
        settings: Mapping[str, object] | None = None,
        *,
        experts: str = ORIGINAL,
        tasks: Sequence[str] | None = None,
        coefficients: Mapping[str, float] | None = None,
        lines: tuple[float, float] | None = None,
        seed: int = 0,
    ) -> MergeRecipe:
        """Return a validated recipe for this suite: `ri` and the tasks are filled in."""
        experts = self.suite.expert_set(experts)
        known = self.suite.set_tasks(experts)
        for task in tasks or ():
            if self.suite.task(task).name not in known:
                raise InputError(f"expert set {experts!r} has no expert for task {task!r}")
        return MergeRecipe.of(
            method,
            tasks or known,
            settings,
            experts=experts,
            coefficients=coefficients,
            lines=lines,
            seed=seed,
        )

    # --- models -------------------------------------------------------------------------------------------

    def ingredients(self, recipe: MergeRecipe) -> dict[str, str]:
        """Return the content digests of what a recipe is made of, see `MergeRecipe.ingredients`."""
        return self._digests(MergeRecipe(recipe.method, (), recipe.tasks, recipe.experts))

    def _ingredients(self, bare: MergeRecipe) -> dict[str, str]:
        """Look the digests up: that touches every file, so they are held by recipes without hyperparameters.

        Raises InputError where an expert was made for another activation than the architecture's.
        """
        for task in bare.tasks:
            self._require_fitting(task)
        return self._weights(bare.experts) | self._task_statistics.digests(bare)

    def _check_activation(self, task: str) -> None:
        expert = self.suite.expert(task)
        require_activation(str(expert.path), self.suite.tower(expert), self.architecture)

    def digest(self, recipe: MergeRecipe) -> str:
        """Return the name of the model that a recipe makes of this suite."""
        return recipe.digest(self.ingredients(recipe))

    def statistics(self, recipe: MergeRecipe, progress: Progress | None = None) -> Statistics | None:
        """Return what the recipe's method has to learn from images, None where that is nothing.

        What is not kept in the workspace is computed first, with progress over the images seen.
        """
        return self._task_statistics.of(recipe, progress)

    def statistics_kept(self, recipe: MergeRecipe) -> bool:
        """Whether `statistics` would compute nothing."""
        return self._task_statistics.kept(recipe)

    def statistics_cost(self, recipe: MergeRecipe) -> int:
        """Return how many images `statistics` would see."""
        return self._task_statistics.cost(recipe)

    def merged(self, recipe: MergeRecipe, progress: Progress | None = None) -> Iterator[tuple[str, torch.Tensor]]:
        """Return the tensors of the model that a recipe makes, merged as they are asked for."""
        vectors = self.task_vectors(recipe.experts)
        return merge(vectors, recipe, statistics=self.statistics(recipe), progress=progress)

    def task_vectors(self, experts: str = ORIGINAL) -> TaskVectors:
        """Return the task vectors of an expert set."""
        return self._vectors(experts)

    @cached_property
    def pretrained(self) -> Model:
        """θ₀."""
        return pretrained_model(self.suite)

    def expert(self, task: str, experts: str = ORIGINAL) -> Model:
        """Return one expert of an expert set."""
        return expert_model(self.suite, task, experts)

    def model(self, recipe: MergeRecipe) -> Model:
        """Return the model that a recipe makes; the merged task vectors used last are held, for other λ."""
        ingredients = self.ingredients(recipe)

        def weights(progress: Progress | None) -> Iterator[tuple[str, torch.Tensor]]:
            vectors, statistics = self.task_vectors(recipe.experts), self.statistics(recipe)
            return self._merged_vectors.merged(vectors, recipe, ingredients, statistics, progress)

        def prepare(progress: Progress | None) -> None:
            self.statistics(recipe, progress)

        return Model(recipe.source, recipe.digest(ingredients), weights, prepare)

    # --- images -------------------------------------------------------------------------------------------

    def sections(self, tasks: tuple[str, ...], on: str = TEST) -> tuple[Section, ...]:
        """Return what a merge of `tasks` is measured on; see `engine.sections`."""
        return self._sections(tasks, on)

    def _find_sections(self, tasks: tuple[str, ...], on: str) -> tuple[Section, ...]:
        return sections(self.suite, self.heads, tasks, on)

    # --- measuring ----------------------------------------------------------------------------------------

    def measure(
        self,
        recipe: MergeRecipe,
        *,
        split: str = TEST,
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> Evaluation:
        """Merge by `recipe` and measure on its tasks.

        `limit` measures a stratified subset of that many images a task instead of all.
        """
        return self.measure_model(
            self.model(recipe), recipe.to_dict(), recipe.tasks, split=split, limit=limit, progress=progress
        )

    def measure_file(
        self,
        path: Path,
        *,
        tower: str | None = None,
        split: str = TEST,
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> Evaluation:
        """Measure somebody else's merged checkpoint on every task; `tower` chooses among several vision towers."""
        model = file_model(self.suite, path, tower)
        require_activation(str(path), self.suite.tower(read_checkpoint(path, tower=tower)), self.architecture)
        return self.measure_model(
            model, {"merged": str(path)}, self.suite.tasks, split=split, limit=limit, progress=progress
        )

    def measure_model(
        self,
        model: Model,
        recipe: dict[str, object],
        tasks: tuple[str, ...],
        *,
        split: str = TEST,
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> Evaluation:
        """Measure any model on tasks, beside the pretrained model and the experts; `recipe` says what it is."""
        self.choose_number_format(_waiting(progress))
        requests = self._requests(model, tasks, split, limit)
        *experts, zero_shot, merged = self.measurement.outcomes(requests, progress)
        return Evaluation(
            self.suite.name,
            recipe,
            merged.correct,
            _by_name(experts),
            zero_shot.correct,
            merged.divergence,
            full=limit is None or all(limit >= len(part.images) for part in requests[-1].sections),
            number_format=str(self.number_format).removeprefix("torch."),
        )

    def crosstalk(
        self,
        experts: str = ORIGINAL,
        *,
        tasks: Sequence[str] | None = None,
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> pd.DataFrame:
        """Return how far each expert alone moves each task's outputs: see `crosstalk_table`."""
        self.choose_number_format(_waiting(progress))
        names = tuple(tasks or self.suite.set_tasks(experts))
        parts = self.sections(names, CROSSTALK)
        requests = [Request(self.expert(expert, experts), parts, limit) for expert in names]
        found = dict(zip(names, self.measurement.outcomes(requests, progress), strict=True))
        return crosstalk_table({(expert, task): found[expert].divergence[task] for expert in names for task in names})

    def kept(self, recipe: MergeRecipe, *, split: str = TEST, limit: int | None = None) -> bool:
        """Whether `measure` would encode nothing."""
        return self.known(self._requests(self.model(recipe), recipe.tasks, split, limit))

    def known(self, requests: Sequence[Request]) -> bool:
        """Whether nothing has to be encoded for some requests."""
        return self.number_format_chosen and self.measurement.cost(requests) == 0

    @property
    def number_format_chosen(self) -> bool:
        """Whether `number_format` would measure nothing."""
        return self._format is not None or self._trial.done

    def requests(self, recipe: MergeRecipe, limit: int | None = None) -> list[Request]:
        """Return the measurements that `measure` makes."""
        return self._requests(self.model(recipe), recipe.tasks, TEST, limit)

    def _requests(self, model: Model, tasks: tuple[str, ...], split: str, limit: int | None) -> list[Request]:
        parts = self.sections(tasks, split)
        own = [(self.expert(part.name), (part,)) for part in parts]
        asked = [*own, (self.pretrained, parts), (model, parts)]
        return [Request(each, wanted, limit, keep_features=True) for each, wanted in asked]


def _waiting(progress: Progress | None) -> Progress | None:
    """Return the progress of what is quick beside the work that it comes before: none, but it can be cancelled."""
    return None if progress is None else lambda *_: progress(0, 0)


def _by_name(found: Sequence[Outcomes]) -> dict[str, Flags]:
    return {name: correct for each in found for name, correct in each.correct.items()}
