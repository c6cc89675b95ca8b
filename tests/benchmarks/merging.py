"""What a merge costs: CPU-seconds and memory of every method on experts of true size, made at run time.

    python tests/benchmarks/merging.py --model ViT-B-32 --experts 8 --methods tsv-m iso-c --reference

Each merge runs in a process of its own, from files to a file. The reference does the same in the obvious way: all
experts in one float32 T×P matrix, full float32 SVDs, `kthvalue` over whole task vectors. `--peer PYTHON` names an
interpreter that has FusionBench (0.2.33) and runs its algorithms on the same files. CPU-seconds leave out the imports;
the peaks are those of the whole process, Python and torch included. Everyone gets the same number of threads, one by
default: more of them wait for each other busily on a machine that has other work, and waiting is billed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

SIZES = {  # width, blocks, patch, positions, output
    "ViT-B-32": (768, 12, 32, 50, 512),
    "ViT-L-14": (1024, 24, 14, 257, 768),
    "small": (128, 2, 8, 17, 64),
}
MEGABYTE = 1 << 20


def shapes(model: str, blocks: int | None = None) -> dict[str, tuple[int, ...]]:
    """The tensors of open_clip's vision tower, or of one with fewer blocks of the same shapes."""
    width, depth, patch, positions, output = SIZES[model]
    found: dict[str, tuple[int, ...]] = {
        "class_embedding": (width,),
        "positional_embedding": (positions, width),
        "proj": (width, output),
        "conv1.weight": (width, 3, patch, patch),
    }
    inner = {
        "ln_1.weight": (width,),
        "ln_1.bias": (width,),
        "attn.in_proj_weight": (3 * width, width),
        "attn.in_proj_bias": (3 * width,),
        "attn.out_proj.weight": (width, width),
        "attn.out_proj.bias": (width,),
        "ln_2.weight": (width,),
        "ln_2.bias": (width,),
        "mlp.c_fc.weight": (4 * width, width),
        "mlp.c_fc.bias": (4 * width,),
        "mlp.c_proj.weight": (width, 4 * width),
        "mlp.c_proj.bias": (width,),
    }
    for norm in ("ln_pre", "ln_post"):
        found |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    for block in range(depth if blocks is None else blocks):
        found |= {f"transformer.resblocks.{block}.{name}": shape for name, shape in inner.items()}
    return {f"visual.{name}": shape for name, shape in found.items()}


def make_experts(tower: Mapping[str, tuple[int, ...]], experts: int, dtype: torch.dtype, folder: Path) -> None:
    """Write a pretrained model and experts near it; task vectors are random and of full rank."""
    from ri_analysis.checkpoints import write_safetensors

    layout = {name: (shape, dtype) for name, shape in tower.items()}

    def tensors(expert: int) -> Iterator[tuple[str, torch.Tensor]]:
        for number, (name, shape) in enumerate(tower.items()):
            base = torch.Generator().manual_seed(number)
            tensor = 0.02 * torch.randn(shape, generator=base)
            if expert:
                own = torch.Generator().manual_seed(expert * 10_000 + number)
                tensor += 1e-3 * torch.randn(shape, generator=own)
            yield name, tensor

    for expert in range(experts + 1):
        path = folder / (f"expert{expert:02}.safetensors" if expert else "pretrained.safetensors")
        write_safetensors(path, layout, tensors(expert), {})


def ours(method: str, folder: Path, experts: int) -> Callable[[], None]:
    """Open the files, and return the merge. Opening takes the files' digests, which the library remembers."""
    from ri_analysis.checkpoints import read_checkpoint, vision_tower
    from ri_analysis.merging import MergeRecipe, merge_to_file
    from ri_analysis.task_vectors import TaskVectors

    paths = {path.stem: path for path in sorted(folder.glob("expert*.safetensors"))[:experts]}
    towers = {name: vision_tower(read_checkpoint(path)) for name, path in paths.items()}
    pretrained = vision_tower(read_checkpoint(folder / "pretrained.safetensors"))
    recipe = MergeRecipe.of(method, tuple(towers))
    return lambda: merge_to_file(TaskVectors(pretrained, towers), recipe, folder / "merged.safetensors")


def reference(method: str, folder: Path, experts: int) -> Callable[[], None]:
    """Return the merge in the obvious way."""
    return lambda: merge_rows(method, folder, experts)


def merge_rows(method: str, folder: Path, experts: int) -> None:
    pretrained = load_file(folder / "pretrained.safetensors")
    paths = sorted(folder.glob("expert*.safetensors"))[:experts]
    rows = []
    for path in paths:
        expert = load_file(path)
        rows.append(torch.cat([(expert[k].float() - v.float()).flatten() for k, v in pretrained.items()]))
        del expert
    vectors = torch.stack(rows)
    del rows
    if method == "ties":
        merged = ties_of_rows(vectors)
    else:
        merged = torch.cat([layer.flatten() for layer in layers_of_rows(method, vectors, pretrained)])
    state, start = {}, 0
    for name, tensor in pretrained.items():
        stop = start + tensor.numel()
        state[name] = tensor.float() + merged[start:stop].view_as(tensor)
        start = stop
    save_file(state, folder / "reference.safetensors")


def ties_of_rows(vectors: torch.Tensor) -> torch.Tensor:
    size = vectors.shape[1]
    thresholds = torch.stack([row.abs().kthvalue(size - math.ceil(0.2 * size) + 1).values for row in vectors])
    trimmed = torch.where(vectors.abs() >= thresholds[:, None], vectors, 0.0)
    sign = trimmed.sum(dim=0).sign()
    sign[sign == 0] = sign.sum().sign()
    return 0.3 * torch.where(trimmed.sign() == sign, trimmed, 0.0).sum(dim=0)


def layers_of_rows(method: str, vectors: torch.Tensor, pretrained: dict[str, torch.Tensor]) -> Iterator[torch.Tensor]:
    matrix = {"tsv-m": tsv_m, "iso-c": iso_c, "iso-cts": iso_cts}[method]
    start = 0
    for tensor in pretrained.values():
        stop = start + tensor.numel()
        deltas = vectors[:, start:stop].view(-1, *tensor.shape)
        yield matrix(deltas) if tensor.ndim == 2 else deltas.mean(dim=0)
        start = stop


def svd(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    return u, s, vh


def polar(matrix: torch.Tensor) -> torch.Tensor:
    u, _, vh = svd(matrix)
    return u @ vh


def tsv_m(deltas: torch.Tensor) -> torch.Tensor:
    k = max(1, min(deltas.shape[1:]) // len(deltas))
    parts = [svd(delta) for delta in deltas]
    u = torch.cat([part[0][:, :k] for part in parts], dim=1)
    s = torch.cat([part[1][:k] for part in parts])
    vh = torch.cat([part[2][:k] for part in parts])
    return polar(u) @ torch.diag(s) @ polar(vh)


def iso_c(deltas: torch.Tensor) -> torch.Tensor:
    u, s, vh = svd(deltas.sum(dim=0))
    return u @ torch.diag(s.mean().expand_as(s)) @ vh


def iso_cts(deltas: torch.Tensor) -> torch.Tensor:
    rank = min(deltas.shape[1:])
    own = round((rank - int(0.8 * rank)) / len(deltas))
    shared = rank - own * len(deltas)
    u, s, vh = svd(deltas.sum(dim=0))
    u, s, vh = u[:, :shared], s[:shared], vh[:shared]
    parts = [svd(delta - u @ u.T @ delta) for delta in deltas]
    left = torch.cat([part[0][:, :own] for part in parts] + [u], dim=1)
    right = torch.cat([part[2][:own] for part in parts] + [vh])
    return torch.cat([part[1][:own] for part in parts] + [s]).mean() * polar(left) @ polar(right)


PEERS = {  # FusionBench's class, and its settings
    "task-arithmetic": ("TaskArithmeticAlgorithm", {"scaling_factor": 0.3}),
    "ties": ("TiesMergingAlgorithm", {"scaling_factor": 0.3, "threshold": 20, "remove_keys": [], "merge_func": "sum"}),
    "tsv-m": ("TaskSingularVectorMerging", {"alpha": 1.0}),
    "iso-c": ("ISO_C_Merge", {"scaling_factor": 1.0}),
    "iso-cts": ("ISO_CTS_Merge", {"scaling_factor": 1.0, "common_space_fraction": 0.8}),
}


def peer(method: str, folder: Path, experts: int) -> Callable[[], None]:
    """Return the merge as FusionBench does it, through its own model pool, which loads a model when it is asked for."""
    from fusion_bench import BaseModelPool
    from fusion_bench import method as algorithms

    def tower(path: Path) -> torch.nn.Module:
        module = torch.nn.Module()
        for name, tensor in load_file(path).items():
            module.register_parameter(name.replace(".", "/"), torch.nn.Parameter(tensor.float(), requires_grad=False))
        return module

    class Pool(BaseModelPool):  # type: ignore[misc]
        def load_model(self, name: str, *_: object, **__: object) -> torch.nn.Module:
            return tower(paths[name])

    paths = {path.stem: path for path in sorted(folder.glob("expert*.safetensors"))[:experts]}
    paths["_pretrained_"] = folder / "pretrained.safetensors"
    name, settings = PEERS[method]
    algorithm, pool = getattr(algorithms, name)(**settings), Pool({key: str(path) for key, path in paths.items()})
    return lambda: save_file(algorithm.run(pool).state_dict(), folder / "peer.safetensors")


def work(kind: str, method: str, folder: Path, experts: int) -> None:
    """What the process of one merge does: merge, then print what it cost as JSON."""
    merge = {"ours": ours, "reference": reference, "peer": peer}[kind](method, folder, experts)
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    merge()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"cpu": cpu, "wall": time.perf_counter() - start, "resident": after.ru_maxrss / 1024}))


def measure(kind: str, method: str, folder: Path, options: argparse.Namespace) -> dict[str, float] | None:
    """Run one merge in its own process; CPU-seconds, wall-clock seconds and peaks in MiB, None if it was killed."""
    python = options.peer if kind == "peer" else sys.executable
    command = [python, __file__, "--work", kind, "--methods", method, "--experts", str(options.experts)]
    threads = {f"{library}_NUM_THREADS": str(options.threads) for library in ("OMP", "MKL", "OPENBLAS")}
    process = subprocess.Popen(
        [*command, "--folder", str(folder)], stdout=subprocess.PIPE, text=True, env=os.environ | threads
    )
    anonymous = 0.0
    while process.poll() is None:
        anonymous = max(anonymous, anonymous_memory(process.pid))
        time.sleep(0.05)
    assert process.stdout is not None
    output = process.stdout.read()
    if process.returncode != 0:
        return None
    return {**json.loads(output.splitlines()[-1]), "anonymous": anonymous}


def anonymous_memory(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def report(kind: str, method: str, found: dict[str, float] | None, limit: float, ratio: str = "") -> None:
    if found is None:
        print(f"{method:16} {kind:9} killed", flush=True)
        return
    verdict = "within" if found["anonymous"] <= limit else "over"
    print(
        f"{method:16} {kind:9} {found['cpu']:8.1f} CPU-s {found['wall']:8.1f} s {found['resident']:8.0f} MiB resident "
        f"{found['anonymous']:8.0f} MiB anonymous ({verdict} two models + 512 MiB) {ratio}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SIZES, default="ViT-B-32")
    parser.add_argument("--blocks", type=int, help="fewer blocks than the model has, to save time")
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--methods", nargs="+", default=["ties", "tsv-m", "iso-c", "iso-cts"])
    parser.add_argument("--dtype", choices=["float32", "float16"], default="float32", help="of the files")
    parser.add_argument("--reference", action="store_true", help="run the in-memory reference where there is one")
    parser.add_argument("--folder", type=Path, help="keep the files here, and use those already there")
    parser.add_argument("--threads", type=int, default=1, help="of every library (default %(default)s)")
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter with FusionBench, to run it too")
    parser.add_argument("--work", choices=["ours", "reference", "peer"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work, arguments.methods[0], arguments.folder, arguments.experts)
        return
    tower = shapes(arguments.model, arguments.blocks)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if len(list(folder.glob("expert*.safetensors"))) < arguments.experts:
            make_experts(tower, arguments.experts, getattr(torch, arguments.dtype), folder)
        size = sum(math.prod(shape) for shape in tower.values())
        limit = 2 * size * getattr(torch, arguments.dtype).itemsize / MEGABYTE + 512
        blocks = "all" if arguments.blocks is None else arguments.blocks
        print(f"{arguments.model}, {blocks} blocks, {size / 1e6:.1f} M parameters, {arguments.dtype}, ", end="")
        print(f"{arguments.experts} experts, {arguments.threads} threads", flush=True)
        for method in arguments.methods:
            found = measure("ours", method, folder, arguments)
            report("ours", method, found, limit)
            for kind in rivals(method, arguments):
                other = measure(kind, method, folder, arguments)
                ratio = f"{other['cpu'] / found['cpu']:.1f}× the CPU-seconds" if other and found else ""
                report(kind, method, other, limit, ratio)


def rivals(method: str, options: argparse.Namespace) -> list[str]:
    """What a method is compared with."""
    reference = ["reference"] if options.reference and method in ("ties", "tsv-m", "iso-c", "iso-cts") else []
    return [*reference, *(["peer"] if options.peer and method in PEERS else [])]


if __name__ == "__main__":
    main()
