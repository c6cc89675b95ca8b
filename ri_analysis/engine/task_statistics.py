"""What methods learn from images, of tasks or auxiliary: computed once, kept in the workspace, read from there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from ri_analysis.caches import seal, sealed
from ri_analysis.checkpoints import write_safetensors
from ri_analysis.checkpoints.stored import StoredTensors, read_safetensors
from ri_analysis.encoder import Architecture, Encoder, Head
from ri_analysis.encoder.device import within_memory
from ri_analysis.engine.sections import usual_source
from ri_analysis.errors import InputError
from ri_analysis.files import digest
from ri_analysis.locks import locked
from ri_analysis.merging import MergeRecipe, find_method
from ri_analysis.merging.method import AUXILIARY_IMAGES, Observed, Statistics, TaskStatistic
from ri_analysis.merging.recipe import images_of
from ri_analysis.progress import Counter, Progress
from ri_analysis.suite import ORIGINAL, ImageSet, Suite

SPLIT = "validation"  # never the test images, which merges are measured on
VERSION = "2"  # raise when a statistic changes its meaning


class TaskStatistics:
    """The statistics of a suite's validation or auxiliary images, without their labels.

    Parameters
    ----------
    suite: the opened suite.
    folder: where statistics are kept, under the digest of all they depend on.
    device: where they are computed.
    architecture, heads: called when a statistic has to be named or computed.
    """

    def __init__(
        self,
        suite: Suite,
        folder: Path,
        device: torch.device,
        architecture: Callable[[], Architecture],
        heads: Callable[[], Mapping[str, Head]],
    ) -> None:
        self._suite, self._folder, self._device = suite, folder, device
        self._architecture, self._heads = architecture, heads

    def digests(self, recipe: MergeRecipe) -> dict[str, str]:
        """Return the digests of a recipe's ingredients other than weights; none for a method without images."""
        if find_method(recipe.method).statistic is None:
            return {}
        return {images_of(task): self._digest(recipe.method, task) for task in recipe.tasks}

    def of(self, recipe: MergeRecipe, progress: Progress | None) -> Statistics | None:
        """Return what a recipe's method has to know, None where that is nothing.

        What is not kept is computed; `progress` is called with (images seen, images to see) and may raise Cancelled:
        the experts finished before are kept. Raises InputError for a task without validation images, and for a suite
        without auxiliary ones.
        """
        statistic = find_method(recipe.method).statistic
        if statistic is None:
            return None
        files, missing = self._files(statistic, recipe), self._missing(statistic, recipe)
        counter = Counter(progress, sum(missing.values()))
        for group, cost in missing.items():
            path = files[group]
            with locked(path, counter.alive):  # what another process or session computes is awaited
                if not sealed(path, path.stem):
                    self._compute(statistic, recipe, group, path, counter.within)
            counter.advance(cost)
        return _reader([read_safetensors(path) for path in files.values()], statistic.joint)

    def kept(self, recipe: MergeRecipe) -> bool:
        """Whether `of` would compute nothing, unless a file was damaged since."""
        statistic = find_method(recipe.method).statistic
        return statistic is None or not self._missing(statistic, recipe, read=False)

    def cost(self, recipe: MergeRecipe) -> int:
        """Return how many images `of` would see, unless a file was damaged since."""
        statistic = find_method(recipe.method).statistic
        return 0 if statistic is None else sum(self._missing(statistic, recipe, read=False).values())

    def _files(self, statistic: TaskStatistic, recipe: MergeRecipe) -> dict[tuple[str, ...], Path]:
        return {group: self._path(recipe, group) for group in _groups(statistic, recipe)}

    def _missing(self, statistic: TaskStatistic, recipe: MergeRecipe, read: bool = True) -> dict[tuple[str, ...], int]:
        """Return what is not kept, with the images that each costs; without `read` files are taken on trust."""
        files = self._files(statistic, recipe)
        lacking = [group for group, path in files.items() if not sealed(path, path.stem, read=read)]
        return {group: self._cost(statistic, recipe, group) for group in lacking}

    def _compute(
        self,
        statistic: TaskStatistic,
        recipe: MergeRecipe,
        tasks: tuple[str, ...],
        path: Path,
        seen: Callable[[int], None],
    ) -> None:
        observed = Observed(
            # A tower of its own: it is trained, and other sessions may be measuring with the shared one.
            Encoder(self._architecture(), self._device),
            self._suite.task_vectors(recipe.experts, tasks),
            {task: self._heads()[task] for task in tasks},
            {task: self._images(recipe.method, task) for task in tasks},
            seen,
            self._folder,
            self._suite.task_vectors(ORIGINAL, tasks),
            state := path.with_suffix(".pt"),
        )
        with within_memory(self._device):
            found = statistic.compute(observed, **_options(statistic, recipe))
        self._suite.files.check()
        layout = {name: (tuple(tensor.shape), torch.float32) for name, tensor in found.items()}
        write_safetensors(path, layout, found.items(), {"method": recipe.method, "tasks": json.dumps(tasks)})
        seal(path, path.stem)
        state.unlink(missing_ok=True)

    def _cost(self, statistic: TaskStatistic, recipe: MergeRecipe, tasks: tuple[str, ...]) -> int:
        sizes = [len(self._images(recipe.method, task)) for task in tasks]
        options = {key: value for key, value in _options(statistic, recipe).items() if key != "seed"}
        return statistic.cost(sizes, **options)

    def _path(self, recipe: MergeRecipe, tasks: tuple[str, ...]) -> Path:
        """Return the file of a statistic: its name changes with everything the statistic depends on."""
        method = find_method(recipe.method)
        statistic, source = method.statistic, filter(None, [method.source])
        assert statistic is not None
        weights = [self._suite.pretrained.digest, *(self._suite.expert(task, recipe.experts).digest for task in tasks)]
        images = [self._digest(recipe.method, task) for task in tasks]
        options = json.dumps(_options(statistic, recipe), sort_keys=True)
        return self._folder / f"{digest(VERSION, recipe.method, options, *weights, *images, *source)}.safetensors"

    def _digest(self, method: str, task: str) -> str:
        """Return the digest of a task's images and of what they are seen through: of auxiliary ones, its expert too."""
        head = self._heads()[task].weight.numpy().tobytes()
        through = [self._suite.expert(task).digest] if find_method(method).needs == AUXILIARY_IMAGES else []
        return digest(self._images(method, task).digest, head, self._architecture().fingerprint, *through)

    def _images(self, method: str, task: str) -> ImageSet:
        if find_method(method).needs == AUXILIARY_IMAGES:
            return self._suite.auxiliary_data(usual_source(self._suite))
        try:
            return self._suite.task_data(task, SPLIT)
        except InputError as error:
            raise InputError(f"{method} learns from unlabelled {SPLIT} images: {error}") from error


def _reader(files: Sequence[StoredTensors], joint: bool) -> Statistics:
    """Return the statistics that lie in `files`: one for each expert, or a joint one with a row for each expert."""

    def about(name: str) -> list[torch.Tensor]:
        found = [file[name] for file in files if name in file]
        return list(found[0].unbind()) if joint and found else found

    return about


def _groups(statistic: TaskStatistic, recipe: MergeRecipe) -> list[tuple[str, ...]]:
    """Return which experts one computation is about: all of the merge, or each alone."""
    return [recipe.tasks] if statistic.joint else [(task,) for task in recipe.tasks]


def _options(statistic: TaskStatistic, recipe: MergeRecipe) -> dict[str, object]:
    """Return what the statistic takes by keyword."""
    options: dict[str, object] = {name: recipe.settings[name] for name in statistic.options}
    return options | ({"seed": recipe.seed} if find_method(recipe.method).seeded else {})
