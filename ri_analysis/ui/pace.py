"""How long work takes here, timed on a few images and one merge: what is short starts by itself."""

from __future__ import annotations

import time

from ri_analysis.engine import Evaluator
from ri_analysis.merging import MergeRecipe
from ri_analysis.studies.conducting.conduct import seconds_an_image
from ri_analysis.ui import resources

SHORT = 15.0  # seconds of work that start without being asked for
_FEW = 24  # images that are timed


def seconds(evaluator: Evaluator, recipe: MergeRecipe, images: int, merges: int) -> float:
    """Return how long it takes to encode images, by as many merges like `recipe`."""
    key = ("pace", str(evaluator.suite.spec.path), recipe.method, recipe.tasks)
    image, merge = resources.remembered(key, lambda: (seconds_an_image(evaluator, _FEW), _merge(evaluator, recipe)))
    return images * image + merges * merge


def _merge(evaluator: Evaluator, recipe: MergeRecipe) -> float:
    started = time.perf_counter()
    for _ in evaluator.merged(recipe) if evaluator.statistics_kept(recipe) else ():
        pass
    return time.perf_counter() - started
