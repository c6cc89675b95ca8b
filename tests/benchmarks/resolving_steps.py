"""What a step of RI costs on a tower of true size, in CPU-seconds: `python tests/benchmarks/resolving_steps.py`.

The weights, heads and images are random and made on the spot. "Naive" is the objective as the paper writes it: three
forward passes through open_clip's own tower, a loop over heads, PyTorch's AdamW as it comes. The others are this
package's loop with its settings. The first step of each sets up what the others use and is left out; the least of the
others is printed. `--threads 1` (the default) is for a machine where other work runs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

from ri_analysis.encoder import Architecture, Encoder, Head, read_architecture
from ri_analysis.hyperparameters import Value, complete
from ri_analysis.resolving import HYPERPARAMETERS, Objective
from ri_analysis.suite.images import ArrayImages
from ri_analysis.training.descent import Descent
from ri_analysis.training.precision import compute_in
from ri_analysis.training.start import begin

VARIANTS: Mapping[str, dict[str, Value]] = {
    "all, float32": {},
    "all, float32, memory 0.5 GiB": {"memory": 0.5},
    "all, bfloat16": {"precision": "bfloat16"},
    "matrices, bfloat16": {"precision": "bfloat16", "parameters": "matrices"},
    "attention, bfloat16": {"precision": "bfloat16", "parameters": "attention"},
    "LoRA of rank 16, bfloat16": {"precision": "bfloat16", "parameters": "lora"},
    "last 4 blocks, float32": {"precision": "float32", "parameters": "last-blocks", "blocks": 4},
    "last 4 blocks, bfloat16": {"precision": "bfloat16", "parameters": "last-blocks", "blocks": 4},
    "last 2 blocks, bfloat16": {"precision": "bfloat16", "parameters": "last-blocks", "blocks": 2},
}
Weights = dict[str, torch.Tensor]


class Bench:
    """A tower, an expert of it, images and heads; all random, the same each time."""

    def __init__(self, architecture: Architecture, batch: int, steps: int) -> None:
        torch.manual_seed(0)
        self.architecture, self.batch, self.steps = architecture, batch, steps
        tower = architecture.build().get_submodule("visual")
        self.pretrained: Weights = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
        self.expert: Weights = {
            name: tensor + 1e-3 * torch.randn_like(tensor) for name, tensor in self.pretrained.items()
        }
        size = architecture.image_size
        pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
        self.images = ArrayImages("random", "random", pixels, None)
        self.encoder = Encoder(architecture, batch=batch)

    def heads(self, count: int) -> dict[str, Head]:
        """Return heads of 10 to 200 classes."""
        generator = torch.Generator().manual_seed(1)
        width, sizes = int(self.architecture.config["embed_dim"]), np.linspace(10, 200, count).astype(int)
        return {
            f"task {place}": Head(100 * normalize(torch.randn(int(size), width, generator=generator)), ())
            for place, size in enumerate(sizes)
        }

    def naive(self, heads: Mapping[str, Head]) -> tuple[float, list[float]]:
        """Return the CPU-seconds of a step of the plain loop, and its losses."""
        towers = []
        for weights in (self.expert, self.expert, self.pretrained):
            tower = self.architecture.build().get_submodule("visual")
            tower.load_state_dict(weights)
            towers.append(tower)
        adapted, expert, pretrained = towers
        optimizer = torch.optim.AdamW(adapted.requires_grad_(True).parameters(), lr=1e-6, weight_decay=1e-4)
        (own, *others), losses, seconds = [head.weight for head in heads.values()], [], []

        def kl(head: torch.Tensor, teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
            p, q = torch.softmax(teacher @ head.T, 1), torch.log_softmax(student @ head.T, 1)
            return (p * (p.log() - q)).sum(dim=1).mean()

        for _ in range(self.steps):
            started = time.process_time()
            order = np.random.default_rng(0).permutation(self.batch)
            x = self.encoder.preprocess(self.images.pixels(order, self.architecture.image_size))
            with torch.no_grad():
                taught, free = normalize(expert(x), dim=1), normalize(pretrained(x), dim=1)
            found = normalize(adapted(x), dim=1)
            loss = kl(own, taught, found) + sum(kl(head, free, found) for head in others) / max(1, len(others))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            seconds.append(time.process_time() - started)
        return min(seconds[1:]), losses

    def ours(self, heads: Mapping[str, Head], changed: Mapping[str, Value]) -> tuple[float, list[float]]:
        """Return the CPU-seconds of a step under these settings, and the losses."""
        given = {"steps": self.steps, "batch": self.batch, "precision": "float32"} | dict(changed)
        settings, rows = complete(HYPERPARAMETERS, given, "benchmark"), np.arange(self.batch)
        compute_in(str(settings["precision"]), self.encoder)
        objective = Objective(heads, next(iter(heads)), 1.0)
        pretrained = self.encoder.features(self.pretrained, self.images)
        losses, times = list[float](), list[float]()

        def loss(adapted: torch.Tensor, chosen: np.ndarray) -> tuple[torch.Tensor, ...]:
            return objective(adapted, expert.at(chosen), pretrained[chosen])

        def report(step: int, parts: tuple[float, ...]) -> None:
            losses.append(parts[-1])
            times.append(time.process_time())

        with tempfile.TemporaryDirectory() as folder:
            start, expert = begin(self.encoder, self.expert, self.images, rows, settings, Path(folder), "random")
            Descent(self.encoder, self.batch, settings, (0,), None).run(start, loss, report)
        return float(np.diff(times).min()), losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-B-32", help="open_clip's name, or a config file")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    bench = Bench(read_architecture(options.model, Path()), options.batch, options.steps)
    heads = bench.heads(8)
    naive, expected = bench.naive(heads)
    print(f"{options.model}, batch {options.batch}, {options.threads} threads, torch {torch.__version__}, 8 heads")
    print(f"{'naive':32}{naive:8.3f} s")
    for name, changed in VARIANTS.items():
        seconds, losses = bench.ours(heads, changed)
        apart = [abs(one - other) for one, other in zip(losses, expected, strict=True)]
        share = max(gap / other for gap, other in zip(apart, expected, strict=True))
        same = f"losses within {max(apart):.0e} nats, {share:.0e} of naive's" if name.startswith("all") else ""
        print(f"{name:32}{seconds:8.3f} s {naive / seconds:6.1f}×   {same}", flush=True)
    changed = VARIANTS["last 2 blocks, bfloat16"]
    for count in (2, 8, 20):
        (plain, _), (seconds, _) = bench.naive(bench.heads(count)), bench.ours(bench.heads(count), changed)
        print(f"{count:2} heads{'':24} {seconds:8.3f} s, naive {plain:.3f} s", flush=True)


if __name__ == "__main__":
    main()
