"""What a surface costs: `python tests/benchmarks/studies.py [SUITE]`.

Prints, for one method and both expert sets, the time of a grid on a cold store, what of it is spent beyond the forward
passes, the time from a warm store, and for TSV-M and Iso-C along λ how many times faster the engine is than a loop
that merges anew at each point.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from ri_analysis.encoder import Encoder
from ri_analysis.engine import Evaluator
from ri_analysis.engine.points import Bench, Point
from ri_analysis.merging import find_method, merge
from ri_analysis.studies import find_study
from ri_analysis.studies.conduct import conduct, plan
from ri_analysis.studies.grids import scales
from ri_analysis.suite import open_suite


class Stopwatch:
    """Adds up the seconds spent in the tower."""

    def __init__(self) -> None:
        self.seconds = 0.0
        original = Encoder.forward

        def timed(encoder: Encoder, inputs: object) -> object:
            started = time.perf_counter()
            result = original(encoder, inputs)  # type: ignore[arg-type]
            self.seconds += time.perf_counter() - started
            return result

        Encoder.forward = timed  # type: ignore[assignment,method-assign]


def surface(suite: str, method: str, levels: int, images: int) -> None:
    """Time a surface cold and warm."""
    watch, study = Stopwatch(), find_study("sensitivity")
    settings = {item.name: item.default for item in study.settings}
    settings |= {"methods": method, "y": "density", "levels": levels, "images": images}
    with tempfile.TemporaryDirectory() as folder:
        evaluator = Evaluator(open_suite(suite, Path(folder)), Path(folder), "cpu")
        for name in ("cold", "warm"):
            bench, watch.seconds, started = Bench(evaluator), 0.0, time.perf_counter()
            planned = plan(study.rounds(evaluator, settings), bench)
            conduct(study.rounds(evaluator, settings), bench, planned=planned)
            seconds = time.perf_counter() - started
            print(f"{name}: {planned.works} points of {method}, {seconds:.1f} s", end="")
            beyond = seconds - watch.seconds
            print(f", {beyond / seconds:.0%} beyond the forward passes" if watch.seconds else "")


def along_scale(suite: str, method: str, levels: int, images: int) -> None:
    """Time the engine along λ against merging anew at each point, on the same images."""
    with tempfile.TemporaryDirectory() as folder:
        evaluator = Evaluator(open_suite(suite, Path(folder)), Path(folder), "cpu")
        recipes = [evaluator.recipe(method, {"scale": value}) for value in scales(find_method(method), levels)]
        bench, vectors = Bench(evaluator), evaluator.suite.task_vectors()
        sections = [(part.images, None) for part in bench.sections(Point(recipes[0], limit=images))]
        merging = measuring = 0.0
        for recipe in recipes:
            started = time.perf_counter()
            weights = dict(merge(vectors, recipe))
            merging += time.perf_counter() - started
            started = time.perf_counter()
            evaluator.encoder.features_of_many(weights, sections)
            measuring += time.perf_counter() - started
        started = time.perf_counter()
        for recipe in recipes:
            Point(recipe, limit=images).carry_out(bench)
        ours = time.perf_counter() - started
    print(
        f"{method} along λ, {levels} values: {ours:.2f} s, merging anew {merging + measuring:.2f} s "
        f"({(merging + measuring) / ours:.1f} times); merging alone {merging:.2f} s, all but forward passes here "
        f"{max(0.0, ours - measuring):.2f} s"
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", nargs="?", default="demo")
    parser.add_argument("--levels", type=int, default=15)
    parser.add_argument("--images", type=int, default=64, help="images a task")
    options = parser.parse_args()
    for method in ("tsv-m", "iso-c"):
        along_scale(options.suite, method, options.levels, options.images)
    surface(options.suite, "ties", options.levels, options.images)


if __name__ == "__main__":
    main()
