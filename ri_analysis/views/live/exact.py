"""The whole test set, measured in the background once a slider is let go, and cancelled when one moves again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

from ri_analysis.engine import Evaluation, Evaluator
from ri_analysis.engine.comparison import Comparison
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Parts, Progress
from ri_analysis.threads import one_thread
from ri_analysis.ui import measuring, resources
from ri_analysis.ui.jobs import Job
from ri_analysis.ui.recipes import Pair

PURPOSE = "live"
_BOTH = ThreadPoolExecutor(2, "ri-analysis-both")  # before and after RI side by side


def start(key: str, evaluator: Evaluator, pair: Pair, small: bool) -> Job:
    """Measure a pair in the background; `small` models take one thread each. The job's result is a Comparison."""
    # Two evaluators: each has one tower. The memory is asked for here, where there is a page.
    evaluators = [evaluator, resources.evaluator(PURPOSE)]
    memory = resources.memory()

    def work(job: Job) -> Comparison:
        parts = Parts(job.progress, len(pair.all))
        futures = [
            _BOTH.submit(_measure, each, recipe, parts.part(place), small)
            for place, (each, recipe) in enumerate(zip(evaluators, pair.all, strict=False))
        ]
        found = [future.result() for future in futures]
        for recipe, evaluation in zip(pair.all, found, strict=True):
            memory.put(measuring.memory_key("measure", evaluator, recipe), evaluation)
        return Comparison.of(found)

    return resources.jobs(PURPOSE).start(key, "Measuring all test images", work)


def _measure(evaluator: Evaluator, recipe: MergeRecipe, progress: Progress | None, small: bool) -> Evaluation:
    with one_thread if small else nullcontext():
        return evaluator.measure(recipe, progress=progress)
