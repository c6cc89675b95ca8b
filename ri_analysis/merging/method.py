"""What a merging method is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.scratch import zeros_on_disk
from ri_analysis.task_vectors import Layer, TaskVectors

if TYPE_CHECKING:  # importing the encoder takes seconds, and few methods look at images
    from ri_analysis.encoder import Encoder, Head
    from ri_analysis.suite import ImageSet

Walk = Callable[[], Iterator[Layer]]
Statistics = Callable[[str], Sequence[torch.Tensor]]
"""What a method knows of the images of T tasks: T tensors about the tensor of that name, or none about it."""


TASK_DATA, AUXILIARY_IMAGES = "task data", "auxiliary images"
NEEDS: Mapping[str, str] = {
    TASK_DATA: "unlabelled validation images of every task",
    AUXILIARY_IMAGES: "unlabelled images of the source that RI uses",
}
"""What a method may learn from beside weights, in words."""


@dataclass(frozen=True)
class Observed:
    """What a statistic is computed from: some experts, their heads, and images of their tasks.

    `encoder` is free to be loaded with any weights. `images` are looked at without their labels. `seen` is to be called
    with the number of images seen so far, and may raise Cancelled. `folder` takes what is too large for memory.
    `originals` are the tasks' original experts, of which `vectors` may hold adapted ones. From the file `state`, where
    it leaves one, a computation that is stopped may resume; it goes once the statistic is kept.
    """

    encoder: Encoder
    vectors: TaskVectors
    heads: Mapping[str, Head]
    images: Mapping[str, ImageSet]
    seen: Callable[[int], None]
    folder: Path
    originals: TaskVectors
    state: Path

    def zeros(self, shapes: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
        """Return float32 zeros to add up in, as large as models: on the accelerator, or else in a file."""
        device = self.encoder.device
        if device.type == "cpu":
            return zeros_on_disk(shapes, self.folder)
        return {name: torch.zeros(tuple(shape), device=device) for name, shape in shapes.items()}


@dataclass(frozen=True)
class TaskStatistic:
    """What a method has to learn from unlabelled images before it merges: of its tasks, or `auxiliary` ones.

    `compute` maps an Observed to tensors under the model's names, given `seed` and the hyperparameters named in
    `options` by keyword. It sees one expert at a time, so that the result serves any merge with that expert; a `joint`
    one sees all experts of the merge, and its tensors (T, …) hold one entry for each, or (1, …) one for all. `cost`
    returns how many images one call sees, given the sizes of the image sets and the same options. The image set of an
    `auxiliary` one is the same for every task: the source that RI uses.
    """

    compute: Callable[..., dict[str, torch.Tensor]]
    cost: Callable[..., int]
    options: tuple[str, ...]
    joint: bool = False
    auxiliary: bool = False


@dataclass(frozen=True)
class Method:
    """A merging method: θ_m = θ₀ + scale · direction(τ_1 … τ_T).

    `direction` maps one Layer to the merged task vector of that tensor (same shape), given the declared
    hyperparameters other than `scale` by keyword. A method that needs a global statistic also has `gather`, called
    first with a function that walks all layers at each call, as a rule `passes` times; its result reaches
    `direction` as `gathered`. A method that needs images declares a `statistic`, whose tensors about the layer reach
    `direction` as `statistics` instead of the hyperparameters it was computed with. A method that draws at random takes
    `seed`.

    `weighted` says that per-task coefficients make sense: coefficient c_t replaces τ_t by c_t·τ_t. `linear` says more:
    the direction is a sum of one term for each expert, and c_t multiplies the term. `counts` are the smallest and
    the largest number of experts that the method can merge. `source` is the digest of the plug-in that declares it.
    """

    name: str
    title: str
    summary: str
    formula: str
    reference: str
    direction: Callable[..., torch.Tensor]
    hyperparameters: tuple[Hyperparameter, ...] = ()
    gather: Callable[..., Any] | None = None
    passes: int = 0
    statistic: TaskStatistic | None = None
    weighted: bool = True
    linear: bool = False
    seeded: bool = False
    counts: tuple[int, int | None] = (1, None)
    source: str = ""

    @property
    def needs(self) -> str:
        """What it learns from beside weights: TASK_DATA, AUXILIARY_IMAGES, or "" for nothing."""
        if self.statistic is None:
            return ""
        return AUXILIARY_IMAGES if self.statistic.auxiliary else TASK_DATA

    @property
    def called(self) -> str:
        """Its title, and what it needs."""
        return f"{self.title} (needs {self.needs})" if self.needs else self.title

    def merges(self, count: int) -> bool:
        """Whether the method can merge so many experts."""
        low, high = self.counts
        return low <= count <= (high or count)

    def label(self, axis: str) -> str:
        """Return what an axis is called: a hyperparameter, or else the coefficient of a task's expert."""
        return next((item.label for item in self.hyperparameters if item.name == axis), f"coefficient of {axis}")


def scale(default: float, *, sweep: tuple[float, float] = (0.1, 1.0)) -> Hyperparameter:
    """Declare λ, the factor of the merged task vector; `merge` applies it, so a method never sees it."""
    return Hyperparameter(
        "scale",
        "factor λ of the merged task vector",
        default,
        -10.0,
        10.0,
        sweep=sweep,
        step=0.05,
        label="scale λ",
    )


IMAGES = Hyperparameter(
    "images",
    "validation images of each task that the method learns from",
    256,
    1,
    1_000_000,
    sweep=(32, 2048),
    log=True,
    label="images per task",
    unit="images",
)
