"""What a study is made of: pieces of work that any process can do, each kept as it is finished."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Protocol

from ri_analysis.engine import Evaluator
from ri_analysis.hyperparameters import Value
from ri_analysis.progress import Progress
from ri_analysis.resolving import default_settings
from ri_analysis.suite import ImageSet


class Work(Hashable, Protocol):
    """A piece of a study's work: whether it is done, what it costs, and how any process computes it."""

    def kept(self, evaluator: Evaluator) -> Any:
        """Return its result where it is kept, else None."""

    def unknown(self, evaluator: Evaluator) -> Any:
        """Return a result of the right shape in which nothing is known, for counting what follows."""

    def cost(self, evaluator: Evaluator) -> int:
        """Return what it costs, in images encoded."""

    def bytes_held(self, evaluator: Evaluator) -> int:
        """Return the memory that decoded images take while it is done."""

    def compute(self, evaluator: Evaluator, progress: Progress | None = None) -> Any:
        """Do it; return a result that can be pickled."""

    def keep(self, evaluator: Evaluator, result: Any, seconds: float) -> None:
        """Keep what was computed, here or by another process, so that `kept` finds it."""


def ri_settings(evaluator: Evaluator, changed: Iterable[tuple[str, Value]]) -> dict[str, Value]:
    """Return all settings of an RI run of which `changed` differ from the suite's."""
    return default_settings(evaluator.suite) | dict(changed)


def bytes_of_images(evaluator: Evaluator, source: ImageSet, settings: Iterable[tuple[str, Value]]) -> int:
    """Return the memory that an RI run's images take, decoded, with their variants."""
    variants = len(source) * int(ri_settings(evaluator, settings)["views"])
    return variants * 3 * evaluator.architecture.image_size**2
