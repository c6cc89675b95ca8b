"""What `ri-analysis resolve --preset quick` of a suite of true size takes, beside the naive loop.

    python tests/benchmarks/resolving_run.py --model ViT-B-32 --experts 8

The suite is made at run time (see true_size.py), with JPEG files of random colours as auxiliary images; the run is a
process of its own on an empty workspace. The CPU-seconds of a step are those of the whole process, with imports,
reading, decoding, teachers, held-out images and writing, by all steps of all experts. "Naive" is that of
resolving_steps.py with the same batch, its steps alone.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from resolving_steps import Bench
from true_size import make, run

from ri_analysis.documents import read_json
from ri_analysis.encoder import read_architecture
from ri_analysis.resolving import PRESETS


def add_auxiliary(suite: Path, count: int) -> None:
    """Add an auxiliary source "photos" of so many JPEG files, each blurred noise of 320 by 256 pixels."""
    folder, generator = suite.parent / "photos", np.random.default_rng(0)
    folder.mkdir()
    for place in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (16, 20, 3), dtype=np.uint8))
        coarse.resize((320, 256), Image.Resampling.BICUBIC).save(folder / f"{place:05}.jpg")
    with suite.open("a") as stream:
        stream.write(f'[[auxiliary]]\nname = "photos"\ndata = "{folder}"\n')


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-B-32", help="open_clip's name")
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--distinct", type=int, help="experts with weights of their own (default: all)")
    parser.add_argument("--images", type=int, default=1024, help="auxiliary images")
    parser.add_argument("--preset", default="quick", choices=tuple(PRESETS))
    parser.add_argument("--options", default="", help="further options of `ri-analysis resolve`")
    parser.add_argument("--threads", type=int, default=1, help="of the naive loop")
    parser.add_argument("--folder", type=Path, help="keep the suite here, and use the one already there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = PRESETS[options.preset].settings(read_architecture(options.model, Path()))
    steps, batch = int(settings["steps"]), int(settings["batch"])
    with tempfile.TemporaryDirectory() as temporary, tempfile.TemporaryDirectory() as workspace:
        folder = options.folder or Path(temporary)
        suite = folder / "suite.toml"
        if not suite.is_file():
            suite = make(folder, options.model, options.experts, options.distinct or options.experts, 4, half=False)
            add_auxiliary(suite, options.images)
        command = f"resolve --auxiliary photos --name bench --preset {options.preset} {options.options}"
        spent = run(command, suite, Path(workspace))
        [record] = Path(workspace).rglob("resolve.json")
        number_format = read_json(record, "the record of the run")["precision"]
    print(
        f"{options.model}, {options.experts} experts, {steps} steps of {batch} images in {number_format}, "
        f"torch {torch.__version__}"
    )
    load = ", ".join(f"{count:.1f}" for count in os.getloadavg())
    print(f"{options.preset:24} {spent}, load average {load} on {os.cpu_count()} cores", flush=True)
    bench = Bench(read_architecture(options.model, Path()), batch, steps=2)
    naive, _ = bench.naive(bench.heads(options.experts))
    ours = spent.cpu / (steps * options.experts)
    print(f"CPU-s a step: {ours:.2f} of the whole run, naive {naive:.2f}, {naive / ours:.1f} times as many")


if __name__ == "__main__":
    main()
