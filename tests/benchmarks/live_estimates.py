"""How far live estimates can be trusted: `python tests/benchmarks/live_estimates.py [SUITE] [--recipes N]`.

Draws recipes at random, estimates each from a probe with the recipe before it as the control variate, measures it on
all test images, and prints how often the 95% intervals cover what was measured and how wide they are. Then it does the
same for surrogates along directions and in planes drawn at random: their stated error against the one made on the same
images.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ri_analysis.engine import Evaluation, Evaluator
from ri_analysis.engine.measurement import Request
from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.live.estimate import Estimate
from ri_analysis.live.probe import LiveProbe
from ri_analysis.live.sample import Sample
from ri_analysis.live.surrogate import Features, Grid, Place, Surrogate, fill
from ri_analysis.merging import MergeRecipe
from ri_analysis.suite import ORIGINAL, open_suite
from ri_analysis.threads import one_thread

METHODS = {"task-arithmetic": (0.05, 1.0), "ties": (0.1, 1.2), "iso-c": (0.2, 2.0)}
SURROGATE_SIZE, BETWEEN = 32, 4  # images a task, and places tried on each line and in each plane


def main() -> int:
    """Print one line for each kind of interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", nargs="?", default="demo")
    parser.add_argument("--recipes", type=int, default=40, help="of each expert set (default %(default)s)")
    parser.add_argument("--lines", type=int, default=8, help="directions for surrogates (default %(default)s)")
    parser.add_argument("--planes", type=int, default=6, help="of two coefficients (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workspace", type=Path, help="a workspace to keep (default: a new one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, one_thread:
        workspace = options.workspace or Path(folder)
        evaluator = Evaluator(open_suite(options.suite, workspace), workspace, "cpu")
        rng = np.random.default_rng(options.seed)
        sets = [ORIGINAL] if evaluator.suite.default_resolved is None else [ORIGINAL, "ri"]
        for size in (32, 16):
            probe = LiveProbe(evaluator, size)
            for experts in sets:
                rng = np.random.default_rng(options.seed)  # the same recipes for both sizes: measured once
                _estimates(evaluator, probe, experts, options.recipes, rng)
        _surrogates(evaluator, sets[-1], options.lines, rng)
        for sides in ((2,), (2, 3), (3, 5)):
            _planes(evaluator, sets[-1], options.planes, sides, rng)
    return 0


def random_recipe(evaluator: Evaluator, experts: str, rng: np.random.Generator) -> MergeRecipe:
    """Draw a method, λ, and in six of ten cases a coefficient for each task."""
    method = str(rng.choice(list(METHODS)))
    scale = float(rng.uniform(*METHODS[method]))
    weights = {task: float(rng.uniform(0, 1.5)) for task in evaluator.suite.tasks} if rng.random() < 0.6 else {}
    return evaluator.recipe(method, {"scale": scale}, experts=experts, coefficients=weights)


def _estimates(evaluator: Evaluator, probe: LiveProbe, experts: str, count: int, rng: np.random.Generator) -> None:
    covered, halves = defaultdict(list), defaultdict(list)
    last = evaluator.measure(random_recipe(evaluator, experts, rng))
    for _ in range(count):
        recipe = random_recipe(evaluator, experts, rng)
        (found,) = probe.estimates([recipe], [last])
        last = evaluator.measure(recipe)
        _score(found, last, covered, halves)
    for kind, hits in covered.items():
        unit, scale = ("points", 100) if "accuracy" in kind else ("nats", 1)
        half = np.array(halves[kind]) * scale
        print(
            f"{probe.size} images a task, {experts:<9} {kind:<19} covered {np.mean(hits):4.0%} of {len(hits)}, "
            f"half-width mean {half.mean():.2f}, at most {half.max():.2f} {unit}",
            flush=True,
        )


def _score(found: Estimate, truth: Evaluation, covered: dict[str, list[bool]], halves: dict[str, list[float]]) -> None:
    for name in ("accuracy", "interference"):
        (_, (low, high)), (exact, _) = getattr(found, f"mean_{name}"), getattr(truth, f"mean_{name}")
        covered[f"mean {name}"].append(low <= exact <= high)
        halves[f"mean {name}"].append((high - low) / 2)
        both = found.table.merge(truth.table, on="task", suffixes=("", "_exact"))
        covered[f"{name} of a task"] += list(both[f"{name}_exact"].between(both[f"{name}_low"], both[f"{name}_high"]))
        halves[f"{name} of a task"] += list((both[f"{name}_high"] - both[f"{name}_low"]) / 2)


def _surrogates(evaluator: Evaluator, experts: str, lines: int, rng: np.random.Generator) -> None:
    """Move one coefficient or λ of a recipe at random, and compare surrogates with the model on the same images."""
    sample, errors, points = Sample.of(evaluator, SURROGATE_SIZE), Errors(list), []
    for number in range(lines):
        base = random_recipe(evaluator, experts, rng)
        task = str(rng.choice(evaluator.suite.tasks)) if number % 2 else None

        def measured(place: Place, base: MergeRecipe = base, task: str | None = task) -> Features:
            changed = _changed(evaluator, base, {task: place[0]} if task else {}, None if task else place[0])
            return _features(evaluator, changed)

        low, high = (-1.0, 2.0) if task else METHODS[base.method]
        surrogate = Surrogate(sample, Grid((low,), (high,)))
        points.append(_filled(surrogate, measured))
        _compare(surrogate, [(float(value),) for value in rng.uniform(low, high, BETWEEN)], measured, errors)
    _tell(f"{lines} lines, {np.mean(points):.1f} points and checks", errors)


def _planes(evaluator: Evaluator, experts: str, planes: int, sides: tuple[int, ...], rng: np.random.Generator) -> None:
    """Move two coefficients of a recipe at random, as the pad does, and compare alike."""
    sample, errors, points = Sample.of(evaluator, SURROGATE_SIZE), Errors(list), []
    for _ in range(planes):
        base = random_recipe(evaluator, experts, rng)
        tasks = [str(task) for task in rng.choice(evaluator.suite.tasks, 2, replace=False)]

        def measured(place: Place, base: MergeRecipe = base, tasks: list[str] = tasks) -> Features:
            return _features(evaluator, _changed(evaluator, base, dict(zip(tasks, place, strict=True)), None))

        surrogate = Surrogate(sample, Grid((-1.0, -1.0), (2.0, 2.0), sides))
        points.append(_filled(surrogate, measured))
        places: list[Place] = [(float(x), float(y)) for x, y in rng.uniform(-1.0, 2.0, (BETWEEN, 2))]
        _compare(surrogate, places, measured, errors)
    _tell(f"{planes} planes, {np.mean(points):.1f} points and checks", errors)


Errors = defaultdict[str, list[tuple[float, float]]]  # made and stated, of accuracies and of interference


def _changed(evaluator: Evaluator, base: MergeRecipe, weights: dict[str, float], scale: float | None) -> MergeRecipe:
    settings = base.settings | ({} if scale is None else {"scale": scale})
    return evaluator.recipe(base.method, settings, experts=base.experts, coefficients=dict(base.coefficients) | weights)


def _features(evaluator: Evaluator, recipe: MergeRecipe) -> Features:
    request = Request(evaluator.model(recipe), evaluator.sections(recipe.tasks), SURROGATE_SIZE)
    (made,) = evaluator.measurement.outputs([request])
    return {name: each.features for name, each in made.items()}


def _filled(surrogate: Surrogate, measured: Callable[[Place], Features]) -> int:
    """Measure a surrogate; return at how many places."""
    return sum(1 for _ in fill([surrogate], lambda place: [measured(place)]))


def _compare(surrogate: Surrogate, places: list[Place], measured: Callable[[Place], Features], errors: Errors) -> None:
    stated = surrogate.error()
    for place in places:
        predicted, truth = surrogate.outcomes(place), surrogate.sample.outcomes(measured(place))
        for name in ("correct", "divergence"):
            off = abs(_mean(predicted, name) - _mean(truth, name))
            errors[name].append((off, stated.mean_accuracy if name == "correct" else stated.mean_interference))


def _tell(what: str, errors: Errors) -> None:
    for name, unit, scale in (("correct", "points of mean accuracy", 100), ("divergence", "nats of mean ξ", 1)):
        made, said = np.array(errors[name]).T
        print(
            f"surrogate, {what}: within its stated error {np.mean(made <= said):4.0%} of {len(made)}; "
            f"error mean {scale * made.mean():.3f}, at most {scale * made.max():.3f}; "
            f"stated mean {scale * said.mean():.3f} {unit}",
            flush=True,
        )


def _mean(outcome: Outcomes, name: str) -> float:
    return float(np.mean([values.mean() for values in getattr(outcome, name).values()]))


if __name__ == "__main__":
    raise SystemExit(main())
