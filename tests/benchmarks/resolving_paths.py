"""Where RI's ways of computing end, beside the plain way: all weights, float32, whole batches, one undisturbed process.

    python tests/benchmarks/resolving_paths.py --steps 120 --seeds 0 1 2
    python tests/benchmarks/resolving_paths.py --steps 60 --tasks emnist fashion cifar10 --paths resumed "two processes"

Every path adapts experts of an embedded suite with the preset "small" shortened to so many steps; a seed decides which
variants of the images there are and their order. A row compares a path with the plain one of the same seed: how far its
weights end from the plain ones, as a share of how far those moved ("equal" where every byte is the same), and the
difference of accuracies on test images with its 95 % interval (images paired; over all seeds, each image's differences
are averaged first, so that the interval is that of the images), in points: merged by three methods at their defaults,
and of the experts on their own tasks.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from ri_analysis.encoder import architecture_of
from ri_analysis.engine import Evaluator
from ri_analysis.engine.evaluation import paired_change
from ri_analysis.errors import Cancelled
from ri_analysis.hyperparameters import Value
from ri_analysis.resolving import PRESETS, record_of, resolve
from ri_analysis.suite import open_suite

METHODS = ("task-arithmetic", "tsv-m", "iso-c")
PATHS: Mapping[str, Mapping[str, Value]] = {
    "in parts": {"memory": 0.02},
    "resumed": {},
    "two processes": {},
    "bfloat16": {"precision": "bfloat16"},
    "last 2 blocks": {"parameters": "last-blocks", "blocks": 2},
    "LoRA of rank 16": {"parameters": "lora", "rank": 16},
}
Flags = dict[str, np.ndarray]


class Bench:
    """An embedded suite, and sets made of it."""

    def __init__(self, suite: str, workspace: Path, tasks: Sequence[str], steps: int) -> None:
        self.suite = open_suite(suite, workspace)
        self.tasks = tuple(tasks) or self.suite.tasks
        self.settings: dict[str, Value] = PRESETS["small"].settings(architecture_of(self.suite)) | {
            "steps": steps,
            "precision": "float32",
        }
        self.auxiliary = str(record_of(self.suite, self.suite.default_resolved or "")["auxiliary"]["name"])

    def adapt(self, path: str, seed: int) -> str:
        """Return the name of the set that a path makes; "plain" is the way to compare with."""
        name, settings = f"{path.replace(' ', '-')}-{seed}", self.settings | dict(PATHS.get(path, {}))
        steps = int(settings["steps"]) * len(self.tasks)

        def stop(done: int, _: int) -> None:
            if path == "resumed" and done > 0.4 * steps:
                raise Cancelled

        for resume in (False, True):
            try:
                resolve(
                    self.suite,
                    auxiliary=self.auxiliary,
                    name=name,
                    settings=settings,
                    tasks=self.tasks,
                    seed=seed,
                    resume=resume,
                    jobs=2 if path == "two processes" else 1,
                    progress=None if resume else stop,
                )
                break
            except Cancelled:
                continue
        return name

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        """Return all of a set's weights, by task and tensor."""
        return {
            f"{task} {key}": tensor.double()
            for task in self.tasks
            for key, tensor in self.suite.tower(self.suite.expert(task, name)).tensors.items()
        }

    def correct(self, name: str) -> dict[str, Flags]:
        """Return which test images are classified right, by task: merged by each method, and by the own expert."""
        evaluator = Evaluator(self.suite)
        found: dict[str, Flags] = {}
        for method in METHODS:
            found[method] = evaluator.measure(evaluator.recipe(method, tasks=self.tasks, experts=name)).correct
        found["own"] = {}
        for task in self.tasks:
            model = evaluator.expert(task, name)
            found["own"] |= evaluator.measure_model(model, {"expert": task}, (task,)).correct
        return found


def apart(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor], start: Mapping[str, torch.Tensor]) -> str:
    """Return how far weights are apart, as a share of how far `one` moved from `start`."""
    if all(torch.equal(one[key], other[key]) for key in one):
        return "equal"
    far, moved = (sum(float((one[key] - each[key]).square().sum()) for key in one) ** 0.5 for each in (other, start))
    return f"{far / moved:.1e}"


def points(before: Sequence[Flags], after: Sequence[Flags]) -> str:
    """Return the change of accuracy in points with its interval; one entry a seed."""
    means = ({task: np.mean([each[task] for each in side], axis=0) for task in side[0]} for side in (before, after))
    change = paired_change(*means)
    low, high = (100 * end for end in change.interval)
    return f"{100 * change.value:+5.2f} ({low:+.2f} to {high:+.2f})"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="demo", help="an embedded suite")
    parser.add_argument("--tasks", nargs="*", default=(), help="experts to adapt and merge (default: all)")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--paths", nargs="+", choices=tuple(PATHS), default=tuple(PATHS))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as workspace:
        bench, sides = Bench(options.suite, Path(workspace), options.tasks, options.steps), ("plain", *options.paths)
        print(f"{options.suite}, {len(bench.tasks)} experts, {options.steps} steps, torch {torch.__version__}")
        print(f"{'path':18}{'seed':>5} {'CPU-s':>7}  {'apart':8}", *(f"{name:24}" for name in (*METHODS, "own")))
        original = bench.weights("original")
        weights: dict[tuple[str, int], dict[str, torch.Tensor]] = {}
        correct: dict[tuple[str, int], dict[str, Flags]] = {}
        for seed in options.seeds:
            for path in sides:
                began = time.process_time()
                name = bench.adapt(path, seed)
                spent = time.process_time() - began  # two processes' own work is not in it
                weights[path, seed], correct[path, seed] = bench.weights(name), bench.correct(name)
                far = apart(weights["plain", seed], weights[path, seed], original)
                row = (points([correct["plain", seed][kind]], [found]) for kind, found in correct[path, seed].items())
                print(f"{path:18}{seed:5} {spent:7.1f}  {far:8}", *(f"{text:24}" for text in row), flush=True)
        for path in options.paths:
            plain, other = ([correct[side, seed] for seed in options.seeds] for side in ("plain", path))
            row = (points([each[kind] for each in plain], [each[kind] for each in other]) for kind in plain[0])
            print(f"{path:18}{'all':>5} {'':7}  {'':8}", *(f"{text:24}" for text in row), flush=True)


if __name__ == "__main__":
    main()
