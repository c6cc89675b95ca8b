"""Trains the small CLIP of the embedded suite from scratch: pictures against their captions, contrastively."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn import functional

from ri_analysis.demo.sources import Labelled
from ri_analysis.demo.tasks import PretrainSource, TaskData
from ri_analysis.files import atomic_path

MODEL = {
    "model_cfg": {
        "embed_dim": 128,
        "vision_cfg": {
            "image_size": 28,
            "patch_size": 7,
            "layers": 4,
            "width": 128,
            "head_width": 32,
            "mlp_ratio": 4.0,
        },
        "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    },
    "preprocess_cfg": {
        "size": [28, 28],
        "mode": "RGB",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
    },
}
Tokenizer = Callable[[list[str]], Tensor]
LARGEST_LOGIT_SCALE = 40.0


@dataclass(frozen=True)
class PretrainSettings:
    """How long and how fast; `chunk` images of one source stand side by side in a batch."""

    samples: int = 832_000
    batch: int = 256
    chunk: int = 32
    captions: int = 320
    learning_rate: float = 1e-3
    warm_up: int = 150
    decay_share: float = 0.134
    weight_decay: float = 0.05
    check_every: int = 250
    seed: int = 0


def build_model(config: Mapping[str, Any] = MODEL, seed: int = 0) -> open_clip.CLIP:
    """An untrained open_clip model of the configuration, initialised from the seed."""
    torch.manual_seed(seed)
    return open_clip.CLIP(**config["model_cfg"])


def make_tokenizer(config: Mapping[str, Any] = MODEL) -> Tokenizer:
    """open_clip's tokenizer at the configuration's context length."""
    tokenizer: Tokenizer = open_clip.SimpleTokenizer(context_length=config["model_cfg"]["text_cfg"]["context_length"])
    return tokenizer


def to_pixels(images: np.ndarray | Tensor) -> Tensor:
    """uint8 images, gray or colour → float (n, 3, 28, 28) in [-1, 1]."""
    pixels = torch.as_tensor(images).float() / 127.5 - 1
    return (pixels[:, None].expand(-1, 3, -1, -1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)).contiguous()


def augment(pixels: Tensor, flip: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Turns, scales and shifts each image a little, mirrors half of those marked, and adds noise."""
    count = len(pixels)

    def uniform(span: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * span * strength

    angle, scale = uniform(0.15), 1 + uniform(0.1)
    mirror = 1 - 2 * (flip & (torch.rand(count, generator=generator) < 0.5)).float()
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    matrix = torch.stack(
        [
            torch.stack([cosine * mirror, -sine, uniform(0.12)], 1),
            torch.stack([sine * mirror, cosine, uniform(0.12)], 1),
        ],
        1,
    )
    grid = functional.affine_grid(matrix, list(pixels.shape), align_corners=False)
    moved = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    return moved + 0.05 * torch.randn(moved.shape, generator=generator)


def caption(template: str, name: str) -> str:
    """The class name put into the template."""
    return template.replace("{}", name)


@torch.no_grad()
def build_head(model: open_clip.CLIP, tokenizer: Tokenizer, classes: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Frozen classifier (classes, embed_dim): normalised mean of the templates' embeddings × the logit scale."""
    model.eval()
    rows = [
        model.encode_text(tokenizer([caption(template, name) for template in templates]), normalize=True).mean(0)
        for name in classes
    ]
    head: Tensor = functional.normalize(torch.stack(rows), dim=-1) * model.logit_scale.exp()
    return head


@torch.no_grad()
def accuracy(model: open_clip.CLIP, head: Tensor, data: Labelled) -> float:
    """Share of images whose largest logit is their label."""
    model.eval()
    right = 0
    for start in range(0, len(data), 512):
        features = model.encode_image(to_pixels(data.images[start : start + 512]), normalize=True)
        right += int((features @ head.T).argmax(1).eq(torch.as_tensor(data.labels[start : start + 512])).sum())
    return right / len(data)


class _Batches:
    """Draws batches: chunks of sources, sources drawn by weight, and the captions to tell apart."""

    def __init__(self, sources: Sequence[PretrainSource], settings: PretrainSettings, tokenizer: Tokenizer) -> None:
        self.sources, self.settings = sources, settings
        weights = np.array([source.weight for source in sources])
        self.weights = weights / weights.sum()
        self.tokens = [
            torch.stack(
                [tokenizer([caption(template, name) for name in source.classes]) for template in source.templates]
            )
            for source in sources
        ]
        self.offsets = np.cumsum([0] + [len(source.classes) for source in sources])

    def draw(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images, flip marks, caption tokens, and each image's row among the captions."""
        settings = self.settings
        rng = np.random.default_rng([settings.seed, step])
        chosen = rng.choice(len(self.sources), settings.batch // settings.chunk, p=self.weights)
        images, labels, flips = [], [], []
        for number in chosen:
            source = self.sources[number]
            rows = rng.integers(len(source.data), size=settings.chunk)
            images.append(to_pixels(source.data.images[rows]))
            labels.append(source.data.labels[rows] + self.offsets[number])
            flips.append(torch.full((settings.chunk,), source.flip))
        wanted = np.unique(np.concatenate(labels))
        others = np.concatenate([np.arange(self.offsets[n], self.offsets[n + 1]) for n in np.unique(chosen)])
        others = rng.permutation(np.setdiff1d(others, wanted))[: max(0, settings.captions - len(wanted))]
        rows = np.concatenate([wanted, others])
        tokens = []
        for row in rows:
            number = int(np.searchsorted(self.offsets, row, side="right")) - 1
            table = self.tokens[number]
            tokens.append(table[rng.integers(len(table)), row - self.offsets[number]])
        target = np.searchsorted(wanted, np.concatenate(labels))
        return torch.cat(images), torch.cat(flips), torch.stack(tokens), torch.as_tensor(target)


def contrastive_loss(logits: Tensor, target: Tensor) -> Tensor:
    """CLIP's loss where several images may share a caption; logits (images, captions), target (images,).

    Images choose among all captions, and each caption that is in use chooses among the images, all of its own
    images being right answers.
    """
    picture = functional.cross_entropy(logits, target)
    used = int(target.max()) + 1  # captions in use come first
    share = functional.one_hot(target, used).T.float()
    text = functional.cross_entropy(logits.T[:used], share / share.sum(1, keepdim=True))
    return (picture + text) / 2


def pretrain(
    sources: Sequence[PretrainSource],
    tasks: Sequence[TaskData],
    folder: Path,
    settings: PretrainSettings,
    report: Callable[[str], None],
    config: Mapping[str, Any] = MODEL,
) -> open_clip.CLIP:
    """Trains, keeping a checkpoint in `folder` from which an interrupted run resumes; returns the model."""
    model, tokenizer = build_model(config, settings.seed), make_tokenizer(config)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    steps, first, checkpoint = settings.samples // settings.batch, 0, folder / "pretraining.pt"
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    batches, started, losses = _Batches(sources, settings, tokenizer), time.monotonic(), []
    for step in range(first, steps):
        remaining = (steps - step) / max(1, settings.decay_share * steps)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * min(1, (step + 1) / settings.warm_up, remaining)
        pixels, flips, tokens, target = batches.draw(step)
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
        model.train()
        features = model.encode_image(augment(pixels, flips, generator), normalize=True)
        texts = model.encode_text(tokens, normalize=True)
        loss = contrastive_loss(model.logit_scale.exp() * features @ texts.T, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(LARGEST_LOGIT_SCALE))
        losses.append(loss.item())
        if (step + 1) % settings.check_every == 0 or step + 1 == steps:
            scores = {
                task.name: accuracy(model, build_head(model, tokenizer, task.classes, task.templates), task.validation)
                for task in tasks
            }
            seconds = time.monotonic() - started
            left = seconds / (step + 1 - first) * (steps - step - 1)
            report(
                f"pretraining {step + 1}/{steps}, {seconds:.0f} s, {left:.0f} s left, loss {np.mean(losses):.3f}, "
                f"scale {model.logit_scale.exp().item():.1f}, zero-shot {np.mean(list(scores.values())):.3f} "
                + " ".join(f"{name} {score:.2f}" for name, score in scores.items())
            )
            losses.clear()
            with atomic_path(checkpoint) as temporary:
                torch.save(
                    {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}, temporary
                )
    return model
