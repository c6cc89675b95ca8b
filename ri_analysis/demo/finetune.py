"""Makes the experts: the vision tower fine-tuned on one task through the frozen head."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn import functional

from ri_analysis.demo.pretrain import accuracy, augment, to_pixels
from ri_analysis.demo.tasks import TaskData


@dataclass(frozen=True)
class FineTuneSettings:
    """How long and how fast; the validation images say whether that was enough."""

    steps: int = 450
    learning_rate: float = 1.6e-4
    batch: int = 128
    weight_decay: float = 0.05
    warm_up: int = 20
    flip: bool = False
    augmentation: float = 0.7
    seed: int = 0


SETTINGS = {
    "MNIST": FineTuneSettings(steps=360),
    "FashionMNIST": FineTuneSettings(steps=405),
    "CIFAR10": FineTuneSettings(steps=1170, flip=True),
    "QuickDraw": FineTuneSettings(steps=540, flip=True, augmentation=1.0),
    "UCIDigits": FineTuneSettings(steps=225),
    "Greek": FineTuneSettings(steps=315),
    "Cyrillic": FineTuneSettings(steps=450),
    "Hebrew": FineTuneSettings(steps=450),
    "DrawingsA": FineTuneSettings(steps=270, flip=True, augmentation=1.0),
    "DrawingsB": FineTuneSettings(steps=270, flip=True, augmentation=1.0),
}


def fine_tune(
    pretrained: open_clip.CLIP,
    head: Tensor,
    task: TaskData,
    settings: FineTuneSettings,
    report: Callable[[str], None],
) -> open_clip.CLIP:
    """A copy of the pretrained model whose vision tower was trained on the task with cross-entropy."""
    model = copy.deepcopy(pretrained)
    parameters = list(model.visual.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    rng = np.random.default_rng(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    flip = torch.full((settings.batch,), settings.flip)
    started = time.monotonic()
    for step in range(settings.steps):
        for group in optimizer.param_groups:
            progress = step / settings.steps
            group["lr"] = settings.learning_rate * min(
                (step + 1) / settings.warm_up, 0.5 * (1 + np.cos(np.pi * progress))
            )
        rows = rng.integers(len(task.train), size=settings.batch)
        pixels = augment(to_pixels(task.train.images[rows]), flip, generator, settings.augmentation)
        model.train()
        logits = model.encode_image(pixels, normalize=True) @ head.T
        loss = functional.cross_entropy(logits, torch.as_tensor(task.train.labels[rows]))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if (step + 1) % 100 == 0 or step + 1 == settings.steps:
            seconds = time.monotonic() - started
            report(
                f"{task.name} {step + 1}/{settings.steps}, {seconds:.0f} s, "
                f"{seconds / (step + 1) * (settings.steps - step - 1):.0f} s left, loss {loss.item():.3f}"
            )
    report(
        f"{task.name}: validation {accuracy(pretrained, head, task.validation):.3f} → "
        f"{accuracy(model, head, task.validation):.3f}"
    )
    return model
