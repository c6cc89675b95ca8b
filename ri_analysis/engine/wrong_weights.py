"""Files of weights that are hardly what a suite takes them for: given twice, not trained, no model, of another base."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch

from ri_analysis.checkpoints import outlines
from ri_analysis.engine.gram import Gram, kept_gram
from ri_analysis.engine.store import Store
from ri_analysis.suite import ORIGINAL, Suite

# Fine-tuned CLIP models lie at 0.003 to 0.1 of ‖θ₀‖ from it, those that ship with the program at 0.03 to 0.07; models
# trained apart lie at 1 and more. Half way on a scale of ratios is 0.3; the rest is room for hard training.
FAR = 0.5
_EXACT = 1e-6  # of ‖θ₀‖: what sums over float32 numbers may be wrong by, and no training is as small


def weight_remarks(
    suite: Suite, store: Store | None, experts: str = ORIGINAL, tasks: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Return what is odd about an expert set's weights, each sentence beginning with the file it is about.

    Files with equal content are always told; the rest once `task_vector_gram` of the same experts is in the store. No
    weights are read.
    """
    names = tuple(tasks or suite.set_tasks(experts))
    gram = None if store is None else kept_gram(suite, store, experts, names)
    found = _Weights(suite, experts, names, gram)
    return (*found.untrained(), *found.twice(), *found.elsewhere())


class _Weights:
    """The experts of a set, by their digests and, where it is known, by where they lie in weight space."""

    def __init__(self, suite: Suite, experts: str, tasks: tuple[str, ...], gram: Gram | None) -> None:
        self._gram, self._tasks = gram, tasks
        self._base = suite.pretrained.path
        self._paths = {task: suite.expert(task, experts).path for task in tasks}
        self._digests = {task: suite.expert(task, experts).digest for task in tasks}
        self._base_digest = suite.pretrained.digest
        self._rounding = {task: _rounding(suite, task, experts) for task in tasks} if gram is not None else {}
        self._equal_to_base = tuple(task for task in tasks if self._is_base(task))

    def untrained(self) -> list[str]:
        """Return a remark on each expert that equals the pretrained model."""
        return [
            f"{self._paths[task]}: the expert of {task} has the weights of the pretrained model {self._base}"
            f"{self._but(task)}: it was not fine-tuned, or is the wrong file"
            for task in self._equal_to_base
        ]

    def twice(self) -> list[str]:
        """Return a remark on each pair of experts that are the same."""
        trained = [task for task in self._tasks if task not in self._equal_to_base]
        return [
            f"{self._paths[two]}: the expert of {two} has the same weights as {self._paths[one]}, the expert of {one}"
            f"{self._but(two, one)}; "
            "one of them is likely the wrong file"
            for one, two in combinations(trained, 2)
            if self._are_equal(one, two)
        ]

    def elsewhere(self) -> list[str]:
        """Return a remark on each expert that lies far from the pretrained model."""
        if self._gram is None:
            return []
        remarks, distances, lengths, cosines = [], *self._gram.place()
        for place, task in enumerate(self._tasks):
            distance, length, cosine = distances[place], lengths[place], cosines[place]
            if distance < FAR:
                continue
            says = f"‖θ‖ = {length:.2g} ‖θ₀‖, cosine {cosine:.2f} with it, ‖θ − θ₀‖ = {distance:.2g} ‖θ₀‖"
            guess = (
                "it looks like a task vector θ − θ₀; give the fine-tuned model itself"
                if length < FAR and abs(cosine) < FAR
                else "it looks like a model of another base, or trained from scratch"
            )
            remarks.append(
                f"{self._paths[task]}: the expert of {task} is far from the pretrained model {self._base} ({says}; "
                f"fine-tuned models are below {FAR}): {guess}"
            )
        return remarks

    def _is_base(self, task: str) -> bool:
        if self._digests[task] == self._base_digest:
            return True
        return self._gram is not None and self._near(self._gram.distance(task), task)

    def _are_equal(self, one: str, two: str) -> bool:
        if self._digests[one] == self._digests[two]:
            return True
        return self._gram is not None and self._near(self._gram.distance(one, two), one, two)

    def _near(self, distance: float, *tasks: str) -> bool:
        """Whether a distance, in ‖θ₀‖, is no more than what saving in another number format makes."""
        return distance <= max(self._rounding[task] for task in tasks)

    def _but(self, *tasks: str) -> str:
        """Return in what equal weights may differ."""
        rounded = self._gram is not None and self._gram.distance(*tasks) > _EXACT
        return ", apart from rounding to another number format" if rounded else ""


def _rounding(suite: Suite, task: str, experts: str) -> float:
    """Return how far, in ‖θ₀‖, saving in its number format may have moved an expert more than the pretrained model."""
    kinds = [
        next(tensor.dtype for tensor in outlines(tensors).values() if tensor.is_floating_point())
        for tensors in (suite.zero_shot, suite.tower(suite.expert(task, experts)).tensors)
    ]
    # Rounding moves a number by eps / 2 of it at most, and by less than eps / 4 in the mean square.
    coarse: float = max(torch.finfo(kind).eps for kind in kinds) / 4
    return _EXACT if kinds[0] == kinds[1] else max(_EXACT, coarse)
