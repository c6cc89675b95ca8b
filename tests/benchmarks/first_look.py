"""How soon the Overview's numbers are there on a large suite, and how soon all of them.

    python tests/benchmarks/first_look.py --model ViT-B-32 --experts 4 --images 64
    python tests/benchmarks/first_look.py --beside ../older-checkout

The suite is made at run time (see true_size.py). Each run is a process of its own on an empty workspace: it opens the
suite and measures Task Arithmetic as the Overview does, a first look and then everything. With `--beside`, another
checkout of this project does the same in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from true_size import make

WORK = """
import json, sys, time
from pathlib import Path
import ri_analysis.ui.measuring as measuring
from ri_analysis.encoder import Encoder
from ri_analysis.engine import Evaluator
from ri_analysis.suite import open_suite
seen, forward = [0], Encoder.forward
def counted(self, inputs):
    seen[0] += len(inputs)
    return forward(self, inputs)
Encoder.forward = counted
suite, workspace = sys.argv[1], Path(sys.argv[2])
start = time.perf_counter()
evaluator = Evaluator(open_suite(suite, workspace), workspace, "cpu")
recipe = evaluator.recipe("task-arithmetic")
first = evaluator.measure(recipe, limit=getattr(measuring, "FIRST_LOOK", None) or measuring.PROBE)
first_at = time.perf_counter() - start
whole = evaluator.measure(recipe)
whole_at = time.perf_counter() - start
print(json.dumps({
    "first": first_at, "whole": whole_at, "first images": first.n, "images": whole.n, "encoded": seen[0],
    "accuracy": whole.mean_accuracy[0], "interference": whole.mean_interference[0],
    "format": getattr(whole, "number_format", "float32"),
}))
"""


def run(checkout: Path, suite: Path) -> dict[str, float | str]:
    """Return the seconds and the numbers of one checkout."""
    with tempfile.TemporaryDirectory() as workspace:
        command = [sys.executable, "-c", WORK, str(suite), workspace]
        environment = os.environ | {"PYTHONPATH": str(checkout)}
        done = subprocess.run(command, env=environment, cwd=checkout, stdout=subprocess.PIPE, check=True, text=True)
        found: dict[str, float | str] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-B-32", help="open_clip's name")
    parser.add_argument("--experts", type=int, default=4)
    parser.add_argument("--images", type=int, default=64, help="images a task")
    parser.add_argument("--beside", type=Path, help="another checkout of this project")
    parser.add_argument("--folder", type=Path, help="keep the suite here, and use the one already there")
    options = parser.parse_args()
    here = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        suite = folder / "suite.toml"
        if not suite.is_file():
            suite = make(folder, options.model, options.experts, options.experts, options.images, half=False)
        found = {"here": run(here, suite)}
        if options.beside is not None:
            found["beside"] = run(options.beside.resolve(), suite)
    for name, numbers in found.items():
        print(name, json.dumps(numbers))
    if "beside" in found:
        for what in ("first", "whole"):
            print(f"{what}: {float(found['beside'][what]) / float(found['here'][what]):.1f} times sooner")


if __name__ == "__main__":
    main()
