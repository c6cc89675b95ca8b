"""Evaluate recipes: weights → logits → per-image outcomes, each computed once and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from ri_analysis.checkpoints import read_checkpoint, vision_tower
from ri_analysis.encoder import Architecture, Encoder, Head, architecture_of, load_heads
from ri_analysis.engine.directions import FEW, Directions
from ri_analysis.engine.evaluation import Evaluation
from ri_analysis.engine.store import Store, default_workspace, known
from ri_analysis.engine.task_statistics import TaskStatistics
from ri_analysis.errors import InputError
from ri_analysis.files import digest
from ri_analysis.measures import crosstalk_table
from ri_analysis.merging import MergeRecipe, merge
from ri_analysis.merging.merge import Progress as MergeProgress
from ri_analysis.merging.method import Statistics
from ri_analysis.stamps import Watch
from ri_analysis.statistics import kl_divergence
from ri_analysis.suite import ORIGINAL, ImageSet, Suite, stratified
from ri_analysis.task_vectors import TaskVectors

# done and total images; it may raise Cancelled, what was finished before is kept
Progress = Callable[[int, int], None]
Weights = Mapping[str, torch.Tensor] | Iterable[tuple[str, torch.Tensor]]

VERSION = "1"  # raise when a measure changes its meaning, so that kept answers are not mistaken for new ones


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called `name`; "auto" is the GPU when there is one. Raises InputError when it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.ones(1, device=name).item()  # "meta" can't
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device: expected auto, cpu or a GPU of this machine, found {name!r}") from error


class Evaluator:
    """A suite with its tower, heads and store: everything a measurement needs.

    Parameters
    ----------
    suite: the opened suite.
    workspace: folder of the store (the user's data directory by default).
    device: "auto", "cpu", "cuda" …
    """

    def __init__(self, suite: Suite, workspace: Path | None = None, device: str = "auto") -> None:
        self.suite = suite
        self.store = Store(workspace or default_workspace(), suite.files.check)
        self.device = pick_device(device)
        self._directions = Directions(most=FEW)
        self._task_statistics = TaskStatistics(
            suite, self.store.workspace / "statistics", self.device, lambda: self.architecture, lambda: self.heads
        )

    @cached_property
    def architecture(self) -> Architecture:
        """The suite's architecture."""
        return architecture_of(self.suite)

    @cached_property
    def encoder(self) -> Encoder:
        """The vision tower."""
        return Encoder(self.architecture, self.device)

    @cached_property
    def heads(self) -> dict[str, Head]:
        """Every task's head, checked against its data."""
        return load_heads(self.suite, self.architecture)

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

    # --- merging ------------------------------------------------------------------------------------------

    def ingredients(self, recipe: MergeRecipe) -> dict[str, str]:
        """Return the content digests of what a recipe is made of, see `MergeRecipe.ingredients`."""
        return self.suite.weight_digests(recipe.experts) | self._task_statistics.digests(recipe)

    def digest(self, recipe: MergeRecipe) -> str:
        """Return the name of the model that a recipe makes of this suite."""
        return recipe.digest(self.ingredients(recipe))

    def statistics(self, recipe: MergeRecipe, progress: Progress | None = None) -> Statistics | None:
        """Return what the recipe's method has to learn from validation images, None where that is nothing.

        What is not kept in the workspace is computed first, with progress over the images seen.
        """
        return self._task_statistics.of(recipe, progress)

    def statistics_kept(self, recipe: MergeRecipe) -> bool:
        """Whether `statistics` would compute nothing."""
        return self._task_statistics.kept(recipe)

    def merged(self, recipe: MergeRecipe, progress: MergeProgress | None = None) -> Iterator[tuple[str, torch.Tensor]]:
        """Return the tensors of the model that a recipe makes, merged as they are asked for."""
        return merge(self._task_vectors(recipe.experts), recipe, statistics=self.statistics(recipe), progress=progress)

    # --- measuring ----------------------------------------------------------------------------------------

    def measure(
        self,
        recipe: MergeRecipe,
        *,
        split: str = "test",
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> Evaluation:
        """Merge by `recipe` and measure on its tasks.

        `limit` measures a stratified probe of that many images a task instead of all. Answers come from the store
        where it has them.
        """
        if not self.kept(recipe, split=split, limit=limit):
            self.statistics(recipe, progress)
        vectors, ingredients = self._task_vectors(recipe.experts), self.ingredients(recipe)
        return self._evaluate(
            recipe.to_dict(),
            recipe.source,
            recipe.digest(ingredients),
            lambda alive: self._directions.merged(vectors, recipe, ingredients, self.statistics(recipe), alive),
            recipe.tasks,
            split,
            limit,
            progress,
        )

    def measure_file(
        self,
        path: Path,
        *,
        tower: str | None = None,
        split: str = "test",
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> Evaluation:
        """Measure somebody else's merged checkpoint on every task; `tower` chooses among several vision towers."""
        files, name = Watch(), "merged"
        with files.noting():
            checkpoint = read_checkpoint(path, tower=tower)
        # Read as an expert's would be, so that its names, shapes and values are checked likewise.
        vectors = TaskVectors(self.suite.zero_shot, {name: self.suite.tower(checkpoint).tensors}, {name: str(path)})

        def tensors(_alive: MergeProgress) -> Iterator[tuple[str, torch.Tensor]]:
            yield from ((key, vectors.expert(key, name)) for key in vectors.names)
            files.check()

        return self._evaluate(
            {"merged": str(path)},
            str(path),
            checkpoint.digest,
            tensors,
            self.suite.tasks,
            split,
            limit,
            progress,
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
        names = tuple(tasks or self.suite.set_tasks(experts))
        keys = {
            (expert, task): self.answer_key("crosstalk", self.suite.expert(expert, experts).digest, task, "test", limit)
            for expert in names
            for task in names
        }
        absent = [pair for pair, key in keys.items() if not self.store.has(key)]
        run = _Run(
            "test", limit, progress, sum(len(self._indices(self._images(task, "test"), limit)) for _, task in absent)
        )
        zero_shot = self._logits("pretrained", names, _Run("test", limit, None, 0)) if absent else {}
        for expert in dict.fromkeys(expert for expert, _ in absent):
            missing = [task for owner, task in absent if owner == expert]
            source = str(self.suite.expert(expert, experts).path)
            for task, logits in self._compute(self._expert_weights(expert, experts), source, missing, run).items():
                values = kl_divergence(zero_shot[task], logits).clamp(min=0)
                self.store.put(keys[expert, task], {"divergence": values.numpy()})
        divergence = {pair: known(self.store.get(key))["divergence"].astype(np.float32) for pair, key in keys.items()}
        return crosstalk_table(divergence)

    def kept(self, recipe: MergeRecipe, *, split: str = "test", limit: int | None = None) -> bool:
        """Whether `measure` would answer from the store alone."""
        return not self._missing(self.digest(recipe), recipe.tasks, split, limit)

    # --- how answers are made -----------------------------------------------------------------------------

    def _evaluate(
        self,
        recipe: dict[str, object],
        source: str,
        weights_digest: str,
        weights: Callable[[MergeProgress], Weights],
        tasks: Sequence[str],
        split: str,
        limit: int | None,
        progress: Progress | None,
    ) -> Evaluation:
        run = _Run(split, limit, progress, self._missing(weights_digest, tasks, split, limit))
        expert = {task: self._logits(task, (task,), run)[task] for task in tasks}
        zero_shot = self._logits("pretrained", tasks, run)
        keys = self._merged_keys(weights_digest, tasks, split, limit)
        kept = {task: self.store.get(key) for task, key in keys.items()}
        missing = [task for task in tasks if kept[task] is None]
        logits = self._compute(weights(run.alive), source, missing, run) if missing else {}
        for task, values in logits.items():
            kept[task] = {
                "predicted": values.argmax(dim=1).to(torch.int32).numpy(),
                "divergence": kl_divergence(expert[task], values).clamp(min=0).numpy(),
            }
            self.store.put(keys[task], known(kept[task]))
        labels = {task: self._labels(task, split, limit) for task in tasks}
        return Evaluation(
            self.suite.name,
            recipe,
            {task: known(kept[task])["predicted"] == labels[task] for task in tasks},
            {task: expert[task].argmax(dim=1).numpy() == labels[task] for task in tasks},
            {task: zero_shot[task].argmax(dim=1).numpy() == labels[task] for task in tasks},
            {task: known(kept[task])["divergence"].astype(np.float32) for task in tasks},
            full=limit is None or all(len(labels[task]) == len(self._images(task, split)) for task in tasks),
        )

    def _missing(self, weights_digest: str, tasks: Sequence[str], split: str, limit: int | None) -> int:
        """Return how many images have to be encoded for an evaluation."""
        keys = [(task, key) for task, key in self._merged_keys(weights_digest, tasks, split, limit).items()]
        for task in tasks:
            for checkpoint in (self.suite.expert(task), self.suite.pretrained):
                keys.append((task, self.answer_key("logits", checkpoint.digest, task, split, limit)))
        absent = [task for task, key in keys if not self.store.has(key)]
        return sum(len(self._indices(self._images(task, split), limit)) for task in absent)

    def _merged_keys(self, weights_digest: str, tasks: Sequence[str], split: str, limit: int | None) -> dict[str, str]:
        # The divergence depends on the original expert too, so its digest is part of the name.
        return {
            task: self.answer_key("merged", weights_digest + self.suite.expert(task).digest, task, split, limit)
            for task in tasks
        }

    def _logits(self, model: str, tasks: Sequence[str], run: _Run) -> dict[str, torch.Tensor]:
        """Return the logits (n, classes) of a model of the suite on the tasks: "pretrained" or an original expert."""
        checkpoint = self.suite.pretrained if model == "pretrained" else self.suite.expert(model)
        keys = {task: self.answer_key("logits", checkpoint.digest, task, run.split, run.limit) for task in tasks}
        kept = {task: self.store.get(key) for task, key in keys.items()}
        missing = [task for task in tasks if kept[task] is None]
        found = {task: torch.from_numpy(arrays["logits"]) for task, arrays in kept.items() if arrays is not None}
        if missing:
            tower = vision_tower(checkpoint) if model == "pretrained" else self._expert_weights(model, ORIGINAL)
            computed = self._compute(tower, str(checkpoint.path), missing, run)
            for task, values in computed.items():
                self.store.put(keys[task], {"logits": values.numpy()})
            found |= computed
        return found

    def _compute(self, weights: Weights, source: str, tasks: Sequence[str], run: _Run) -> dict[str, torch.Tensor]:
        images = [self._images(task, run.split) for task in tasks]
        sets = [(item, self._indices(item, run.limit)) for item in images]
        features = self.encoder.features_of_many(weights, sets, source=source, progress=run.report)
        run.done += sum(len(indices) for _, indices in sets)
        return {task: self.heads[task].logits(values) for task, values in zip(tasks, features, strict=True)}

    def _expert_weights(self, task: str, experts: str) -> Iterator[tuple[str, torch.Tensor]]:
        """Read one expert through its task vectors, so that its tensors are checked as for a merge."""
        vectors = self._task_vectors(experts)
        return ((name, vectors.expert(name, task)) for name in vectors.names)

    def _task_vectors(self, experts: str) -> TaskVectors:
        return self.suite.task_vectors(experts)

    def _images(self, task: str, split: str) -> ImageSet:
        return self.suite.task_data(task, split)

    @staticmethod
    def _indices(images: ImageSet, limit: int | None) -> npt.NDArray[np.int64]:
        return stratified(images.labels, len(images), len(images) if limit is None else limit)

    def _labels(self, task: str, split: str, limit: int | None) -> npt.NDArray[np.int64]:
        images = self._images(task, split)
        assert images.labels is not None  # task data is always read with labels
        return images.labels[self._indices(images, limit)]

    def answer_key(self, kind: str, weights: str, task: str, split: str, limit: int | None) -> str:
        """Return the name of an answer in the store: it changes with everything the answer depends on."""
        images = self._images(task, split)
        probe = "all" if limit is None or limit >= len(images) else str(limit)
        head = self.heads[task].weight.numpy().tobytes()
        tower = self.architecture.fingerprint
        return digest(VERSION, kind, tower, self.suite.pretrained.digest, weights, head, images.digest, probe)


@dataclass
class _Run:
    """Which images a measurement is about, and how many of the missing answers are done."""

    split: str
    limit: int | None
    progress: Progress | None
    total: int
    done: int = 0

    def report(self, step: int) -> None:
        if self.progress is not None:
            self.progress(self.done + step, self.total)

    def alive(self, done: int, total: int) -> None:
        """Let a merge be cancelled between two tensors."""
        self.report(0)
