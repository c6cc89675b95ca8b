"""What it costs to open, measure and merge a suite of true size from the command line.

    python tests/benchmarks/true_size.py --model ViT-B-32 --experts 8
    python tests/benchmarks/true_size.py --model ViT-L-14 --experts 20 --half --distinct 4 --commands check check
    python tests/benchmarks/true_size.py --commands check "merge --method fisher" "merge --method regmean"

The experts are made at run time, as task_vectors publishes its own: whole pickled ImageEncoders with random task
vectors, pickled heads, small image folders and npz files. Every command runs in a process of its own; the peaks are
those of the whole process, and anonymous memory leaves out what is mapped from files.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import open_clip
import torch
from PIL import Image

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "experts")]
from checkpoint_formats import ImageEncoder, foreign, pickled_head  # noqa: E402

CLASSES = 10
COMMANDS = ["check", "check", "measure", "measure"]


def make(folder: Path, model: str, experts: int, distinct: int, images: int, half: bool) -> Path:
    """Write a suite in the layout of task_vectors; return the suite file. Experts beyond `distinct` are hard links."""
    torch.manual_seed(0)
    checkpoints = folder / "checkpoints" / model
    for split in ("data", "validation"):
        (folder / split).mkdir(parents=True, exist_ok=True)
    checkpoints.mkdir(parents=True)
    clip = open_clip.CLIP(**open_clip.get_model_config(model))
    width, size = clip.visual.output_dim, clip.visual.image_size[0]
    with foreign(ImageEncoder), torch.no_grad():
        encoder = ImageEncoder(clip.half() if half else clip)
        torch.save(encoder, checkpoints / "zeroshot.pt")
        base = {name: value.clone() for name, value in clip.visual.named_parameters()}
        for number in range(experts):
            path = checkpoints / f"Task{number:02}" / "finetuned.pt"
            path.parent.mkdir()
            if number >= distinct:
                path.hardlink_to(checkpoints / f"Task{number % distinct:02}" / "finetuned.pt")
                continue
            for name, value in clip.visual.named_parameters():
                value.copy_(base[name] + 1e-3 * torch.randn(value.shape))
            torch.save(encoder, path)
    lines = ['name = "true-size"', "[model]", f'architecture = "{model}"', f'pretrained = "{checkpoints}/zeroshot.pt"']
    for number in range(experts):
        name = f"Task{number:02}"
        pickled_head(checkpoints / f"head_{name}.pt", 100 * torch.nn.functional.normalize(torch.randn(CLASSES, width)))
        data = write_images(folder / "data" / name, number, images, size)
        lines += ["[[task]]", f'name = "{name}"', f'expert = "{checkpoints}/{name}/finetuned.pt"']
        lines += [f'head = "{checkpoints}/head_{name}.pt"', f'data = "{data}"']
        lines += [f'validation = "{write_images(folder / "validation" / name, experts + number, images, size)}"']
    path = folder / "suite.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def write_images(path: Path, seed: int, count: int, size: int) -> Path:
    """Write noise as an image folder, or for odd seeds as an npz file."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    labels = np.arange(count) % CLASSES
    if seed % 2:
        np.savez(path.with_suffix(".npz"), images=pixels, labels=labels)
        return path.with_suffix(".npz")
    for place, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        (path / f"{label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path / f"{label}" / f"{place}.png")
    return path


class Spent(NamedTuple):
    """What a command took: seconds, CPU-seconds, and peaks of memory in MiB."""

    wall: float
    cpu: float
    resident: float
    anonymous: float

    def __str__(self) -> str:
        return (
            f"{self.wall:7.1f} s {self.cpu:7.1f} CPU-s {self.resident:7.0f} MiB resident "
            f"{self.anonymous:7.0f} MiB anonymous"
        )


def run(command: str, suite: Path, workspace: Path) -> Spent:
    """Run one command in a process of its own; return what it took."""
    name, *options = command.split()
    arguments = [sys.executable, "-m", "ri_analysis.cli", name, str(suite), "--workspace", str(workspace)]
    arguments += ["--device", "cpu", *options, *(["--out", str(workspace / "merged.safetensors")] * (name == "merge"))]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(TESTS.parent)}
    process = subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    resident = anonymous = 0.0
    while process.poll() is None:
        now = memory(process.pid)
        resident, anonymous = max(resident, now.get("VmHWM", 0.0)), max(anonymous, now.get("RssAnon", 0.0))
        time.sleep(0.05)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    output, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"{command} failed: {errors or output}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(wall, cpu, resident, anonymous)


def memory(pid: int) -> dict[str, float]:
    """Return the memory figures of a process by name, in MiB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    fields = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): int(value) / 1024 for name, value, _ in fields}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-B-32", help="open_clip's name")
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--distinct", type=int, help="experts with weights of their own (default: all)")
    parser.add_argument("--images", type=int, default=16, help="images a task")
    parser.add_argument("--half", action="store_true", help="write float16")
    parser.add_argument("--commands", nargs="+", default=COMMANDS, help="check, measure, or merge with its options")
    parser.add_argument("--folder", type=Path, help="keep the suite here, and use the one already there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        suite = folder / "suite.toml"
        if not suite.is_file():
            distinct = options.distinct or options.experts
            suite = make(folder, options.model, options.experts, distinct, options.images, options.half)
        size = sum(path.stat().st_size for path in (folder / "checkpoints").rglob("*.pt")) / 2**30
        print(f"{options.model}, {options.experts} experts, {size:.1f} GiB of checkpoints, torch {torch.__version__}")
        with tempfile.TemporaryDirectory() as workspace:
            for command in options.commands:
                print(f"{command:24} {run(command, suite, Path(workspace))}", flush=True)


if __name__ == "__main__":
    main()
