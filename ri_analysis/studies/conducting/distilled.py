"""A merge that is distilled afterwards, by the method for it, and trained as RI is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ri_analysis.engine import Evaluator
from ri_analysis.engine.sections import usual_source
from ri_analysis.hyperparameters import Value
from ri_analysis.merging import find_method
from ri_analysis.resolving import trained_passes
from ri_analysis.studies.conducting.point import Point
from ri_analysis.studies.conducting.work import bytes_of_images, ri_settings
from ri_analysis.suite import ImageSet


@dataclass(frozen=True)
class Distilled(Point):
    """A point whose merge is a distilled one: what training it takes counts as well."""

    def cost(self, evaluator: Evaluator) -> int:
        """See Work: a step forward and back is worth three encodings; each expert sees its images once."""
        images, settings = len(_source(evaluator)) * int(self.recipe.settings["views"]), self.recipe.settings
        seen = evaluator.statistics_cost(self.recipe)
        again = 2 * trained_passes(images, settings, evaluator.architecture) if seen else 0
        return super().cost(evaluator) + seen + again

    def bytes_held(self, evaluator: Evaluator) -> int:
        """See Work."""
        return bytes_of_images(evaluator, _source(evaluator), self.recipe.hyperparameters)


def distilled(evaluator: Evaluator, point: Point, changed: Mapping[str, Value], seed: int) -> Distilled:
    """Return the point of `point`'s merge distilled, with the settings that RI has on this suite but for `changed`.

    Raises InputError for a method whose merge can't be distilled.
    """
    merge, declared = point.recipe, {item.name for item in find_method("distilled").hyperparameters}
    settings = {name: value for name, value in ri_settings(evaluator, changed.items()).items() if name in declared}
    recipe = evaluator.recipe(
        "distilled",
        {**settings, "start": merge.method, "start_scale": merge.scale},
        experts=merge.experts,
        tasks=merge.tasks,
        seed=seed,
    )
    return Distilled(**{**vars(point), "recipe": recipe})


def _source(evaluator: Evaluator) -> ImageSet:
    return evaluator.suite.auxiliary_data(usual_source(evaluator.suite))
