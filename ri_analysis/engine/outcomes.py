"""What is measured: a model on sections of images, image by image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ri_analysis.suite import ImageSet, stratified

Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Nats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Section:
    """Images that are judged together.

    `tasks` are those through whose heads, joined, a model answers; `reference` is the model that its answers are held
    against: a task, for its original expert, "pretrained", or None. `first` is the place of label 0 among the joined
    classes.
    """

    name: str
    images: ImageSet
    tasks: tuple[str, ...]
    reference: str | None
    first: int = 0

    def count(self, limit: int | None) -> int:
        """Return how many images a subset of at most `limit` holds."""
        return len(self.images) if limit is None else min(limit, len(self.images))

    def rows(self, limit: int | None) -> Indices:
        """Return the places (n,) of a subset's images, sorted: stratified, seeded, and nested."""
        return stratified(self.images.labels, len(self.images), self.count(limit))

    @cached_property
    def targets(self) -> Indices | None:
        """The right class of every image among the joined ones, None without labels."""
        return None if self.images.labels is None else self.images.labels + self.first


@dataclass(frozen=True)
class Outcome:
    """What a model makes of some images of a section.

    `rows` (n,) are their places in the section, `predicted` (n,) the class of each, `labels` (n,) the right ones where
    they are known, and `divergence` (n,) KL(reference ‖ model) in nats where there is a reference.
    """

    rows: Indices
    predicted: npt.NDArray[np.int32]
    labels: Indices | None = None
    divergence: Nats | None = None

    @cached_property
    def correct(self) -> Flags | None:
        """Which images are right, (n,)."""
        return None if self.labels is None else self.predicted == self.labels


class Outcomes(Mapping[str, Outcome]):
    """What a model makes of several sections, by name."""

    def __init__(self, sections: Mapping[str, Outcome]) -> None:
        self._sections = dict(sections)

    def __getitem__(self, name: str) -> Outcome:
        return self._sections[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sections)

    def __len__(self) -> int:
        return len(self._sections)

    @cached_property
    def correct(self) -> dict[str, Flags]:
        """Which images are right, (n,) by section; without the sections that have no labels."""
        return {name: found.correct for name, found in self._sections.items() if found.correct is not None}

    @cached_property
    def divergence(self) -> dict[str, Nats]:
        """The divergence of each image, (n,) nats by section; without the sections that have no reference."""
        return {name: found.divergence for name, found in self._sections.items() if found.divergence is not None}

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
        return sum(len(found.rows) for found in self._sections.values())

    @classmethod
    def unknown(cls, sections: Sequence[Section], limit: int | None) -> Outcomes:
        """Return outcomes of the right shape in which nothing is known, for counting what follows."""
        return cls({section.name: _unknown(section, limit) for section in sections})


def labels(section: Section) -> Indices:
    """Return the labels of a section that has them."""
    assert section.images.labels is not None  # task data is always read with labels
    return section.images.labels


def _unknown(section: Section, limit: int | None) -> Outcome:
    rows = section.rows(limit)
    nothing = np.full(len(rows), -1, np.int32)
    labels = None if section.targets is None else section.targets[rows]
    return Outcome(rows, nothing, labels, None if section.reference is None else np.zeros(len(rows), np.float32))
