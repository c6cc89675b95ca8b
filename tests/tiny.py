"""A suite of a few kilobytes, made on the spot: the real code paths at a size where a test takes milliseconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from ri_analysis.checkpoints import read_checkpoint
from ri_analysis.encoder import build_head, read_architecture, save_head
from ri_analysis.encoder.heads import TextTower

TASKS = {"Reds": 3, "Greens": 4, "Blues": 2}
MODEL = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 8, "patch_size": 4, "layers": 2, "width": 32, "head_width": 16},
        "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
}


def images(n: int, classes: int, channel: int, seed: int) -> dict[str, np.ndarray]:
    """Noise whose one channel grows brighter with the class."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    pixels = generator.integers(0, 90, (n, 8, 8, 3))
    pixels[..., channel] += (labels * 150 // classes)[:, None, None]
    return {"images": pixels.astype(np.uint8), "labels": labels.astype(np.int64)}


def without_keys(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return a trained tensor less the keys' biases, on which no attention depends: Adam moves them by rounding."""
    return torch.cat(tensor.chunk(3)[::2]) if name.endswith("in_proj_bias") else tensor


def make_suite(folder: Path, *, resolved: bool = True, seed: int = 0) -> Path:
    """Write a suite of three tasks with original experts and one resolved set; return the suite file."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(json.dumps(MODEL))
    architecture = read_architecture("model.json", folder)
    model = architecture.build()
    save_file(
        {key: value.contiguous() for key, value in model.state_dict().items()},
        folder / "pretrained.safetensors",
    )
    tower = TextTower(architecture, read_checkpoint(folder / "pretrained.safetensors"))
    visual = {f"visual.{key}": value for key, value in model.visual.state_dict().items()}
    lines = [
        'name = "tiny"',
        "[model]",
        'architecture = "model.json"',
        'pretrained = "pretrained.safetensors"',
    ]
    for channel, (task, classes) in enumerate(TASKS.items()):
        for name, size in (("original", 0.05), ("resolved/mild", 0.02)):
            path = folder / name / f"{task}.safetensors"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({key: value + size * torch.randn_like(value) for key, value in visual.items()}, path)
        names = [f"{task.lower()} {index}" for index in range(classes)]
        (folder / f"{task}.txt").write_text("\n".join(names) + "\n")
        save_head(folder / f"head-{task}.safetensors", build_head(tower, names, ["a photo of {}", "{}"]))
        for split, n in (("test", 24), ("validation", 12)):
            np.savez_compressed(folder / f"{task}-{split}.npz", **images(n, classes, channel, channel + n))
        lines += [
            "[[task]]",
            f'name = "{task}"',
            f'expert = "original/{task}.safetensors"',
            f'head = "head-{task}.safetensors"',
            f'classes = "{task}.txt"',
            'templates = ["a photo of {}", "{}"]',
            f'data = "{task}-test.npz"',
            f'validation = "{task}-validation.npz"',
        ]
    np.savez_compressed(folder / "other.npz", images=images(40, 4, 1, 9)["images"])
    np.savez_compressed(folder / "unseen.npz", **images(20, 3, 0, 7))
    lines += ["[[auxiliary]]", 'name = "noise"', 'generator = "noise"', "seed = 3", "count = 32"]
    lines += ["[[auxiliary]]", 'name = "other"', 'data = "other.npz"']
    lines += ["[[unseen]]", 'name = "dim"', 'tasks = ["Reds"]', 'data = "unseen.npz"']
    if resolved:
        lines += ["[[resolved]]", 'name = "mild"', 'directory = "resolved/mild"', "default = true"]
    path = folder / "suite.toml"
    path.write_text("\n".join(lines) + "\n")
    return path
