"""What a surface costs: `python tests/benchmarks/studies.py [SUITE]`, with OMP_NUM_THREADS=1 where other work runs.

Along λ, for TSV-M and Iso-C: the engine against two loops that merge again at each point, one with this package's own
merge and one with plain full SVDs. The forward passes are the same for all three, so each comparison is printed twice:
of all that is spent beyond them, and of everything. Then a surface before and after RI on a cold store, what of it is
spent beyond the forward passes, and the same from a warm store. Seconds are those of the CPU unless they are called
wall clock, so that other work on the machine does not enter the ratios. Numbers go to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import torch
from merging import iso_c, tsv_m  # the references beside this file

from ri_analysis.encoder import Encoder
from ri_analysis.engine import Evaluator
from ri_analysis.engine.grids import scales
from ri_analysis.merging import MergeRecipe, find_method, merge
from ri_analysis.studies import find_study
from ri_analysis.studies.conducting.conduct import conduct, plan
from ri_analysis.studies.conducting.point import Point
from ri_analysis.suite import open_suite
from ri_analysis.task_vectors import TaskVectors

Weights = Iterator[tuple[str, torch.Tensor]]
PLAIN = {"tsv-m": tsv_m, "iso-c": iso_c}


class Stopwatch:
    """Adds up the CPU-seconds spent in the tower."""

    def __init__(self) -> None:
        self.seconds = 0.0
        original = Encoder.forward

        def timed(encoder: Encoder, inputs: object) -> object:
            started = time.process_time()
            result = original(encoder, inputs)  # type: ignore[arg-type]
            self.seconds += time.process_time() - started
            return result

        Encoder.forward = timed  # type: ignore[assignment,method-assign]

    def of(self, work: Callable[[], object]) -> tuple[float, float]:
        """Return the CPU-seconds of some work: in the tower, and beyond it."""
        self.seconds, started = 0.0, time.process_time()
        work()
        return self.seconds, time.process_time() - started - self.seconds


class Progress:
    """Says on stderr, every few seconds, how far a part of the benchmark is."""

    def __init__(self, what: str, every: float = 5.0) -> None:
        self.what, self.every, self.said = what, every, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self.said > self.every:
            self.said = time.monotonic()
            print(f"  … {self.what}: {done / max(1, total):.0%}", file=sys.stderr, flush=True)


def say(text: str) -> None:
    """Print a result at once, wherever stdout goes."""
    print(text, flush=True)


def evaluator_of(suite: str, folder: str) -> Evaluator:
    """Open a suite on an empty store."""
    return Evaluator(open_suite(suite, Path(folder)), Path(folder), "cpu")


def merged_plainly(vectors: TaskVectors, recipe: MergeRecipe) -> Weights:
    """Merge in the obvious way: full SVDs of every matrix, the mean of anything else."""
    for name in vectors.names:
        pretrained = vectors.pretrained(name)
        deltas = torch.stack([vectors.expert(name, task) - pretrained for task in recipe.tasks])
        found = PLAIN[recipe.method](deltas) if pretrained.ndim == 2 else deltas.mean(dim=0)
        yield name, pretrained + recipe.scale * found


def along_scale(watch: Stopwatch, suite: str, method: str, levels: int, images: int) -> None:
    """Print the engine along λ against loops that merge again at each point, on the same images."""
    with tempfile.TemporaryDirectory() as folder:
        evaluator = evaluator_of(suite, folder)
        recipes = [evaluator.recipe(method, {"scale": value}) for value in scales(find_method(method), levels)]
        points, bench = [Point(recipe, limit=images) for recipe in recipes], evaluator
        vectors = evaluator.suite.task_vectors()
        Point(evaluator.recipe("averaging"), limit=images).compute(evaluator)  # images decoded, experts' outputs known

        def all_points(what: str, measure: Callable[[Point], object]) -> None:
            progress = Progress(f"{method} {what}")
            for done, point in enumerate(points, 1):
                measure(point)
                progress(done, len(points))

        def point_by_point(merged: Callable[[TaskVectors, MergeRecipe], Weights], point: Point) -> None:
            bench.judge(merged(vectors, point.recipe), point)

        tower, beyond = watch.of(lambda: all_points("by the engine", lambda point: point.compute(evaluator)))
        say(
            f"{method} along λ, {levels} values, {images} images a task: engine {tower:.2f} s in forward passes and "
            f"{beyond:.2f} s beyond them ({beyond / (tower + beyond):.0%})"
        )
        for name, way in (("this package's merge", merge), ("full SVDs", merged_plainly)):
            work = partial(all_points, f"point by point by {name}", partial(point_by_point, way))
            loop_tower, loop_beyond = watch.of(work)
            whole = (loop_tower + loop_beyond) / (tower + beyond)
            say(
                f"  point by point by {name}: {loop_tower:.2f} s and {loop_beyond:.2f} s; besides forward passes the "
                f"engine is {loop_beyond / beyond:.1f} times faster, with them {whole:.1f} times "
                f"({(loop_tower + loop_beyond) / loop_tower:.1f} if all but they cost nothing)"
            )


def surface(watch: Stopwatch, suite: str, method: str, levels: int, images: int) -> None:
    """Print what a surface before and after RI costs, cold and warm."""
    study = find_study("sensitivity")
    settings = {item.name: item.default for item in study.settings}
    settings |= {"methods": method, "y": "density", "levels": levels, "images": images}
    with tempfile.TemporaryDirectory() as folder:
        evaluator = evaluator_of(suite, folder)
        for name in ("cold", "warm"):
            evaluator, started = evaluator, time.perf_counter()
            points, (tower, beyond) = _conduct(watch, evaluator, settings)
            wall = time.perf_counter() - started
            say(
                f"{name} {levels}×{levels} surface of {method}, {images} images a task, {points} points: {wall:.1f} s "
                f"wall clock; {tower + beyond:.1f} s of CPU, {beyond / (tower + beyond):.0%} beyond the forward passes"
            )


def _conduct(watch: Stopwatch, evaluator: Evaluator, settings: Mapping[str, object]) -> tuple[int, tuple[float, float]]:
    study, evaluator = find_study("sensitivity"), evaluator
    found: list[int] = []
    progress = Progress("surface")

    def work() -> None:
        planned = plan(study.rounds(evaluator, settings), evaluator)  # type: ignore[arg-type]
        found.append(planned.works)
        rounds = study.rounds(evaluator, settings)  # type: ignore[arg-type]
        conduct(rounds, evaluator, planned=planned, progress=progress)

    spent = watch.of(work)
    return found[0], spent


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", nargs="?", default="demo")
    parser.add_argument("--levels", type=int, default=15)
    parser.add_argument("--images", type=int, default=64, help="images a task")
    parser.add_argument("--only", choices=("scale", "surface"), help="one of the two parts")
    options = parser.parse_args()
    watch = Stopwatch()
    for method in () if options.only == "surface" else PLAIN:
        along_scale(watch, options.suite, method, options.levels, options.images)
    if options.only != "scale":
        surface(watch, options.suite, "ties", options.levels, options.images)


if __name__ == "__main__":
    main()
