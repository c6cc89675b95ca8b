"""Points: one merge measured on one kind of images."""

from __future__ import annotations

from dataclasses import dataclass

from ri_analysis.engine import Evaluator
from ri_analysis.engine.measurement import Request
from ri_analysis.engine.outcomes import Outcomes, Section
from ri_analysis.engine.sections import TEST
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Progress
from ri_analysis.suite.suite import STUDIES


@dataclass(frozen=True)
class Point:
    """A merge by `recipe`, measured on one kind of images (see `engine.sections`), at most `limit` of each section.

    A piece of a study's work, see Work.
    """

    recipe: MergeRecipe
    on: str = TEST
    limit: int | None = None

    def sections(self, evaluator: Evaluator) -> tuple[Section, ...]:
        """Return the images that it is about."""
        return evaluator.sections(self.recipe.tasks, self.on)

    def request(self, evaluator: Evaluator) -> Request:
        """Return what it asks of the engine."""
        return Request(evaluator.model(self.recipe), self.sections(evaluator), self.limit)

    def kept(self, evaluator: Evaluator) -> Outcomes | None:
        """See Work."""
        return evaluator.measurement.kept(self.request(evaluator)) if has_experts(evaluator, self.recipe) else None

    def unknown(self, evaluator: Evaluator) -> Outcomes:
        """See Work."""
        return Outcomes.unknown(self.sections(evaluator), self.limit)

    def cost(self, evaluator: Evaluator) -> int:
        """See Work; what all points are held against is not counted."""
        if has_experts(evaluator, self.recipe):
            return evaluator.measurement.cost([self.request(evaluator)], references=False)
        return sum({part.images.digest: part.count(self.limit) for part in self.sections(evaluator)}.values())

    def bytes_held(self, evaluator: Evaluator) -> int:
        """See Work."""
        return 0

    def compute(self, evaluator: Evaluator, progress: Progress | None = None) -> Outcomes:
        """See Work."""
        return evaluator.measurement.outcomes([self.request(evaluator)], progress)[0]

    def keep(self, evaluator: Evaluator, result: Outcomes, seconds: float) -> None:
        """See Work."""
        evaluator.measurement.keep(self.request(evaluator), result, seconds)


def has_experts(evaluator: Evaluator, recipe: MergeRecipe) -> bool:
    """Whether the recipe's experts exist: those that a study makes do not before their run, and come one by one."""
    if not recipe.experts.startswith(f"{STUDIES}/"):
        return True
    return set(recipe.tasks) <= set(evaluator.suite.set_tasks(recipe.experts))
