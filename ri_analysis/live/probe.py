"""A merge looked at while it moves: a small probe of every task, held ready for the next weights.

Pixels are preprocessed once. The tower's weights are one vector: where the method adds the experts up, a move of λ or
of a coefficient is one matrix-vector product into it; for the others the merged task vector is kept along λ.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property

import torch

from ri_analysis.checkpoints.towers import PREFIX
from ri_analysis.encoder import Architecture, require_directions
from ri_analysis.encoder.device import within_memory
from ri_analysis.engine.evaluation import Evaluation
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.merged_vectors import FEW, MergedVectors
from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.live.estimate import Estimate, estimate
from ri_analysis.live.sample import Features, Sample
from ri_analysis.memory import Recent
from ri_analysis.merging import MergeRecipe, direction, find_method
from ri_analysis.progress import Progress
from ri_analysis.suite import ORIGINAL
from ri_analysis.task_vectors import TaskVectors
from ri_analysis.threads import one_thread

SIZES = (32, 16)  # images a task, the first that can be looked at fast enough
FAST = 0.06  # seconds that a look at both models may take for the larger probe
LIVE = 0.4  # seconds up to which an estimate follows a moving slider
BUDGET = 512 << 20  # bytes of task vectors held as matrices, and as many of merged ones
_BATCH, _FEW = 128, 8
_SMALL = 16 << 20  # parameters


def is_small(evaluator: Evaluator) -> bool:
    """Whether models are so small that several towers, of one thread each, are faster than one."""
    return evaluator.device.type == "cpu" and evaluator.task_vectors(ORIGINAL).size <= _SMALL


class LiveProbe:
    """A suite's merges on a probe, for any number of sessions at once.

    Parameters
    ----------
    evaluator: the suite.
    size: images a task; by default 32 where this machine looks at them fast enough, 16 otherwise.

    The tower computes in bfloat16 where that is faster here than float32.
    """

    def __init__(self, evaluator: Evaluator, size: int | None = None) -> None:
        self._evaluator, self._device = evaluator, evaluator.device
        self._vectors = evaluator.task_vectors
        self.small = is_small(evaluator)
        self._workers = ThreadPoolExecutor(min(2, os.cpu_count() or 1) if self.small else 1, "ri-analysis-live")
        self._own, self._lock = threading.local(), threading.Lock()
        self._columns: Recent[str, torch.Tensor] = Recent(BUDGET, FEW)
        self._merged_vectors = MergedVectors(BUDGET, FEW)
        self._merging: dict[str, float] = {}
        self._dtype, image = self._fastest()
        models = 2 if self._workers._max_workers == 1 else 1  # one after the other, or side by side
        one = image * len(evaluator.suite.tasks) * models
        self.size = size or next((size for size in SIZES if size * one <= FAST), SIZES[-1])
        self.seconds = self.size * one
        self._image_seconds = one
        if self.seconds > LIVE:
            self._workers.submit(self._own.__dict__.clear).result()  # a tower that is not to be used

    @cached_property
    def sample(self) -> Sample:
        """The probe's images."""
        return Sample.of(self._evaluator, self.size)

    @cached_property
    def _inputs(self) -> dict[str, torch.Tensor]:
        """The preprocessed images of every task."""
        encoder, found = self._evaluator.encoder, {}
        for part in self._evaluator.sections(self._evaluator.suite.tasks):
            pixels = part.images.pixels(part.rows(self.size), encoder.image_size)
            found[part.name] = encoder.preprocess(pixels)
        return found

    def prepare(self, recipes: Sequence[MergeRecipe], progress: Progress | None = None) -> None:
        """Have everything at hand that looks at such recipes take: the first is then as fast as the next.

        `progress` may raise Cancelled. Raises InputError where a merge has no directions.
        """
        if self.seconds <= LIVE:
            self.sample = Sample.of(self._evaluator, self.size, progress)
            if all(map(self._evaluator.statistics_kept, recipes)):
                self.look(recipes)

    def look(self, recipes: Sequence[MergeRecipe]) -> list[Outcomes]:
        """Return what merges by some recipes make of the probe's images of their tasks."""
        return [self.sample.outcomes(features) for features in self.features(recipes)]

    def features(self, recipes: Sequence[MergeRecipe]) -> list[Features]:
        """Return the features, (n, embed_dim) by task, that merges give the probe's images of their tasks."""
        futures = [self._workers.submit(self._features, recipe) for recipe in recipes]
        return [future.result() for future in futures]

    def estimates(self, recipes: Sequence[MergeRecipe], references: Sequence[Evaluation]) -> list[Estimate]:
        """Return what the probe says of all test images; `references` are what was measured last, one a recipe."""
        looked = zip(self.look(recipes), references, strict=True)
        return [estimate(found, reference, self.sample.sizes) for found, reference in looked]

    def expected_seconds(self, recipe: MergeRecipe, moved: bool) -> float:
        """Return how long a look at a recipe and its like will take; `moved` when something else than λ moves."""
        if not self._evaluator.statistics_kept(recipe):
            return math.inf
        merging = 0.0 if not moved or self._as_matrix(recipe) else self._merging.get(recipe.method, 0.0)
        return self.seconds + merging

    def affordable(self, seconds: float, most: int) -> int:
        """Return how many images a task, 16 to `most`, two models can be measured on in so many seconds."""
        return max(SIZES[-1], min(most, int(seconds / self._image_seconds)))

    # --- outcomes -----------------------------------------------------------------------------------------

    def _features(self, recipe: MergeRecipe) -> Features:
        with one_thread if self.small else nullcontext(), within_memory(self._device):
            tower = self._tower()
            self._load(tower, recipe)
            inputs = torch.cat([self._inputs[task] for task in recipe.tasks])
            features = require_directions(tower.features(inputs.to(tower.dtype)).cpu(), recipe.source)
            parts = torch.split(features, [len(self._inputs[task]) for task in recipe.tasks])
            return dict(zip(recipe.tasks, parts, strict=True))

    def _tower(self) -> _Tower:
        """Return this worker's tower."""
        if getattr(self._own, "tower", None) is None or self._own.tower.dtype != self._dtype:
            self._own.tower = _Tower(self._evaluator.architecture, self._vectors(ORIGINAL), self._device, self._dtype)
        tower: _Tower = self._own.tower
        return tower

    def _fastest(self) -> tuple[torch.dtype, float]:
        """Return the number format that looks fastest here, and the seconds that one image takes with it."""
        found = {}
        for dtype in (torch.float32, torch.bfloat16) if self.small else (torch.float32,):
            self._dtype = dtype
            found[dtype] = min(self._workers.submit(self._seconds_an_image).result() for _ in range(3))
        best = min(found, key=found.__getitem__)
        return best, found[best]

    def _seconds_an_image(self) -> float:
        with one_thread if self.small else nullcontext():
            tower, side = self._tower(), self._evaluator.architecture.image_size
            images = torch.zeros(_BATCH if self.small else _FEW, 3, side, side, device=self._device, dtype=tower.dtype)
            tower.features(images[:1]).cpu()  # on a GPU, only what brings a result back waits for it
            started = self._clock()
            tower.features(images).cpu()
            return (self._clock() - started) / len(images)

    def _clock(self) -> float:
        """Return the seconds that this thread has worked where it works alone: others may be busy beside it."""
        return time.thread_time() if self.small else time.perf_counter()

    # --- weights ------------------------------------------------------------------------------------------

    def _load(self, tower: _Tower, recipe: MergeRecipe) -> None:
        if self._as_matrix(recipe):
            coefficients = dict(recipe.coefficients)
            tower.load_sum(self._matrix(recipe), [coefficients.get(task, 1.0) * recipe.scale for task in recipe.tasks])
            return
        started = self._clock()
        vectors, ingredients = self._vectors(recipe.experts), self._evaluator.ingredients(recipe)
        statistics = self._evaluator.statistics(recipe)
        tower.load(self._merged_vectors.merged(vectors, recipe, ingredients, statistics))
        # The longest of late: along λ there is nothing to merge, and that must not make a merge look cheap.
        taken = self._clock() - started
        self._merging[recipe.method] = max(taken, 0.9 * self._merging.get(recipe.method, 0.0))

    def _as_matrix(self, recipe: MergeRecipe) -> bool:
        size = len(recipe.tasks) * self._vectors(recipe.experts).size * 4
        return find_method(recipe.method).linear and recipe.lines is None and 2 * size <= BUDGET

    def _matrix(self, recipe: MergeRecipe) -> torch.Tensor:
        """Return the experts' terms of the merged task vector before λ, (tasks, parameters)."""
        bare = replace(recipe, coefficients=())
        key = replace(bare, hyperparameters=_without_scale(recipe)).digest(self._evaluator.ingredients(recipe))
        with self._lock:  # also while it is made: others wait for the same one as a rule
            found = self._columns.get(key)
            if found is None:
                found = torch.stack([self._term(bare, task) for task in recipe.tasks]).to(self._device)
                self._columns.put(key, found, found.nbytes)
            return found

    def _term(self, recipe: MergeRecipe, task: str) -> torch.Tensor:
        alone = tuple((other, 0.0) for other in recipe.tasks if other != task)
        found = direction(self._vectors(recipe.experts), replace(recipe, coefficients=alone))
        return torch.cat([delta.reshape(-1) for _, delta in found])


def _without_scale(recipe: MergeRecipe) -> tuple[tuple[str, float | int | str], ...]:
    return tuple((name, value) for name, value in recipe.hyperparameters if name != "scale")


class _Tower:
    """A vision tower whose floating-point weights are pieces of one vector."""

    def __init__(
        self, architecture: Architecture, vectors: TaskVectors, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.dtype = dtype
        self._module = architecture.build_tower().to(device, dtype)
        slots = dict(self._module.named_parameters()) | dict(self._module.named_buffers())
        self._floats = {name: slots[name.removeprefix(PREFIX)] for name in vectors.names if vectors.is_float(name)}
        self._start = torch.cat([vectors.pretrained(name).reshape(-1) for name in self._floats]).to(device)
        self._merged = torch.empty_like(self._start)
        self._weights = self._merged if dtype == torch.float32 else torch.empty_like(self._start, dtype=dtype)
        for slot, piece in zip(self._floats.values(), self._pieces(self._weights), strict=True):
            slot.data = piece
        with torch.no_grad():
            for name in vectors.names:
                if name not in self._floats:
                    slots[name.removeprefix(PREFIX)].copy_(vectors.pretrained(name))
        self.load_sum(self._start[:0].view(0, 0), [])

    def load_sum(self, terms: torch.Tensor, weights: Sequence[float]) -> None:
        """Load θ₀ + weights · terms; terms (tasks, parameters), a weight for each task."""
        with torch.no_grad():
            self._merged.copy_(self._start)
            for term, weight in zip(terms, weights, strict=True):
                if weight:
                    self._merged.add_(term, alpha=weight)
        self._finish()

    def load(self, tensors: Iterator[tuple[str, torch.Tensor]]) -> None:
        """Load a model's tensors under canonical names."""
        pieces = dict(zip(self._floats, self._pieces(self._merged), strict=True))
        with torch.no_grad():
            for name, tensor in tensors:
                if name in pieces:
                    pieces[name].copy_(tensor)
        self._finish()

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the features of preprocessed images: (n, embed_dim), unit rows, float32."""
        with torch.inference_mode():
            parts = [self._module(batch).float() for batch in torch.split(inputs, _BATCH)]
            return torch.nn.functional.normalize(torch.cat(parts), dim=-1)

    def _pieces(self, vector: torch.Tensor) -> list[torch.Tensor]:
        sizes = [slot.numel() for slot in self._floats.values()]
        return [
            piece.view(slot.shape)
            for piece, slot in zip(torch.split(vector, sizes), self._floats.values(), strict=True)
        ]

    def _finish(self) -> None:
        if self._weights is not self._merged:
            self._weights.copy_(self._merged)
