"""How an expert fares on auxiliary images that no expert is trained on, while it trains; and when to stop.

Those images are the ones that no batch of the run holds. A long run reaches every image, unless `held_out` sets a share
aside first: then it trains on the others alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from ri_analysis.errors import InputError
from ri_analysis.hyperparameters import Value
from ri_analysis.resolving.objective import Objective
from ri_analysis.suite import ImageSet
from ri_analysis.suite.images import Indices, Subset
from ri_analysis.training.start import Rows, Start

LOOKS = 20  # at an expert over its run, the ones before the first and after the last step beside them
SHARE = 0.05  # of a run's time that the looks take, about: a step costs three times a look at its images
LEAST, MOST = 32, 256  # images of a look


class HeldOut(NamedTuple):
    """An expert at a step, on images that no expert is trained on.

    `keep`, `free` and `loss` are in the distance's unit; `crosstalk` is the free term as KL, in nats.
    """

    step: int
    keep: float
    free: float
    loss: float
    crosstalk: float


def training_images(images: int, share: float, seed: int) -> Indices:
    """Return the indices, sorted, of the images of a source that a run may train on: all but a share, drawn by `seed`.

    Raises InputError where none would be left.
    """
    aside = round(images * share)
    if not share:
        return np.arange(images)
    if not 0 < aside < images:
        raise InputError(f"held_out: {share:g} of {images:,} images sets {aside:,} aside; choose another share")
    return np.sort(np.random.default_rng([seed, images]).permutation(images)[aside:])


def part(source: ImageSet, rows: Indices) -> ImageSet:
    """Return the images of `source` at `rows`, which are sorted: itself where these are all."""
    return source if len(rows) == len(source) else Subset(source, rows)


def interval(settings: Mapping[str, Value]) -> int:
    """Return how many steps lie between two looks."""
    return max(1, int(settings["steps"]) // LOOKS)


def held_out(images: int, reached: Indices, settings: Mapping[str, Value], seed: int) -> Indices:
    """Return the indices, sorted, of the images to look at: some of those of the source that are not in `reached`.

    Raises InputError where there are none and `patience` needs them.
    """
    left = np.setdiff1d(np.arange(images), reached)
    if not len(left) and settings["patience"]:
        raise InputError("patience: every auxiliary image is used for training; set some aside, e.g. held_out=0.05")
    cheap = round(3 * SHARE * interval(settings) * int(settings["batch"]))
    order = np.random.default_rng([seed, images, 1]).permutation(len(left))
    return np.sort(left[order[: min(MOST, max(LEAST, cheap))]])


class Watch:
    """One expert's looks so far, and the weights that were best where patience asks for them.

    With `patience` above 0 the run ends after as many looks without a lower keep + α · free than ever before, and the
    weights of the best look are kept, also when no look ends it.

    Parameters
    ----------
    start, rows: where a forward pass begins, and the images to look at.
    objectives: the run's own, and the same in KL, of which the free term is the crosstalk.
    expert, pretrained: the teachers' features of these images.
    """

    def __init__(
        self,
        start: Start,
        rows: Indices,
        objectives: tuple[Objective, Objective],
        expert: Rows,
        pretrained: Rows,
        settings: Mapping[str, Value],
        batch: int,
    ) -> None:
        self._start, self._rows, self._teachers, self._batch = start, rows, (expert, pretrained), batch
        self._objective, self._crosstalk = objectives
        self._every, self._steps = interval(settings), int(settings["steps"])
        self._patience = int(settings["patience"])
        self.looks: list[HeldOut] = []
        self._best: dict[str, torch.Tensor] = {}

    def after(self, step: int, variables: Mapping[str, torch.Tensor]) -> None:
        """Look at the expert where it is time to, step 0 included."""
        if (step % self._every and step != self._steps) or (self.looks and self.looks[-1].step >= step):
            return
        self.looks.append(self._look(step))
        if self._patience and _best(self.looks) is self.looks[-1]:
            self._best = {name: item.detach().clone() for name, item in variables.items()}

    @property
    def over(self) -> bool:
        """Whether patience has run out."""
        if not self._patience or not self.looks:
            return False
        return len(self.looks) - 1 - self.looks.index(_best(self.looks)) >= self._patience

    @torch.no_grad()
    def keep_best(self, variables: Mapping[str, torch.Tensor]) -> None:
        """Set the variables back to those of the best look, with patience."""
        for name, tensor in self._best.items():
            variables[name].copy_(tensor)

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs of it."""
        return {"looks": [list(look) for look in self.looks], "best": self._best}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.looks, self._best = [HeldOut(*look) for look in state["looks"]], dict(state["best"])

    @torch.no_grad()
    def _look(self, step: int) -> HeldOut:
        totals = np.zeros(4)
        for first in range(0, len(self._rows), self._batch):
            rows = self._rows[first : first + self._batch]
            features = self._start.forward(self._start.fetch(rows))
            expert, pretrained = (each.at(rows).to(features.device) for each in self._teachers)
            keep, free, loss = (float(term) for term in self._objective(features, expert, pretrained))
            crosstalk = float(self._crosstalk(features, expert, pretrained).free)
            totals += np.array([keep, free, loss, crosstalk]) * len(rows) / len(self._rows)
        return HeldOut(step, *map(float, totals))


def _best(looks: list[HeldOut]) -> HeldOut:
    return min(looks, key=lambda look: look.loss)  # the first of equals
