"""`python -m ri_analysis.demo --sources DIR --out assets`: trains the embedded suite from its source packages.

See `ri_analysis.demo.sources` for the packages.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from ri_analysis.demo.build import Recipe, build, prepare
from ri_analysis.demo.finetune import SETTINGS
from ri_analysis.demo.pretrain import PretrainSettings
from ri_analysis.demo.sources import MissingSource, read_sources
from ri_analysis.errors import InputError


def main(arguments: list[str] | None = None) -> int:
    """Builds both suites; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ri_analysis.demo", description=__doc__)
    parser.add_argument("--sources", type=Path, required=True, help="folder of the unpacked npm packages")
    parser.add_argument("--out", type=Path, default=Path("assets"), help="folder of the suites")
    parser.add_argument("--work", type=Path, default=Path("demo-work"), help="folder of checkpoints and caches")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="a few steps of everything, to try the recipe out")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    recipe = Recipe(
        pretraining=PretrainSettings(seed=options.seed),
        fine_tuning={name: replace(settings, seed=options.seed) for name, settings in SETTINGS.items()},
    )
    if options.quick:
        recipe = replace(
            recipe,
            pretraining=replace(recipe.pretraining, samples=25_600, check_every=50),
            fine_tuning={name: replace(settings, steps=20) for name, settings in recipe.fine_tuning.items()},
            resolving={**recipe.resolving, "steps": 20, "views": 1},
        )
    started = time.monotonic()

    def report(line: str) -> None:
        print(f"[{time.monotonic() - started:6.0f} s] {line}", file=sys.stderr, flush=True)

    try:
        materials = prepare(
            lambda: read_sources(options.sources, report, options.seed), options.work, options.seed, report
        )
        build(materials, recipe, options.out, options.work, report)
    except (MissingSource, InputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
