"""The hyperparameters of training a tower on images, which whoever trains one declares as its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ri_analysis.hyperparameters import Hyperparameter


def _cosine(step: int, steps: int) -> float:
    return 0.5 * (1 + float(np.cos(np.pi * (step - 1) / steps)))


def _warm_cosine(step: int, steps: int) -> float:
    # Adam's first steps are as long for a weight whose gradient is noise as for any other; short ones spoil less.
    warm = steps // 10
    return step / warm if step < warm else _cosine(step - warm, steps - warm)


SCHEDULES: Mapping[str, Callable[[int, int], float]] = {
    "constant": lambda step, steps: 1.0,
    "cosine": _cosine,
    "warm-cosine": _warm_cosine,
}
"""The learning rate of a step, counted from 1, by the steps in all, as a share of the highest: constant; half a cosine
down to 0; the same after rising in a straight line over a tenth of the steps."""

RATE = Hyperparameter(
    "lr", "learning rate of AdamW", 1e-6, 1e-9, 1.0, sweep=(1e-7, 1e-3), log=True, label="learning rate"
)
LARGE_RATE = 5e-6
"""Of all weights of a large tower. A ViT-B/32 with random task vectors diverges at the rates of small ones, and at
2e-5; its last two blocks alone do at 5e-5. Never tried with real experts."""
WEIGHT_DECAY = Hyperparameter("weight_decay", "weight decay of AdamW", 1e-4, 0.0, 1.0, sweep=(0, 0.1))
BATCH = Hyperparameter(
    "batch",
    "auxiliary images per step",
    128,
    1,
    8192,
    sweep=(16, 512),
    log=True,
    label="images per step",
    unit="images",
)
VIEWS = Hyperparameter(
    "views",
    "versions of each image to train on: the image itself and augmented copies",
    1,
    1,
    1000,
    sweep=(1, 16),
    log=True,
    label="augmented views per image",
    unit="augmented views",
)
# The paper's schedule is not known; "constant" is the plain reading of its settings.
SCHEDULE = Hyperparameter(
    "schedule",
    "how the learning rate changes over the steps",
    "constant",
    choices=tuple(SCHEDULES),
    titles=("constant rate", "cosine", "warm-up then cosine"),
    label="learning-rate schedule",
)
PARAMETERS = Hyperparameter(
    "parameters",
    "weights to train; the others stay as in the expert",
    "all",
    choices=("all", "matrices", "attention", "last-blocks", "lora"),
    titles=("all weights", "matrices only", "attention only", "last blocks only", "LoRA"),
    label="trained weights",
)
BLOCKS = Hyperparameter(
    "blocks",
    "number of last blocks to train, if only these are trained",
    4,
    1,
    1000,
    sweep=(1, 12),
    label="trained blocks",
)
RANK = Hyperparameter(
    "rank", "rank of the updates, if LoRA is trained", 16, 1, 4096, sweep=(1, 256), log=True, label="LoRA rank"
)
MEMORY = Hyperparameter(
    "memory",
    "memory for the activations of a step; larger batches are computed in parts, with the same gradient",
    4.0,
    1e-6,
    1024.0,
    sweep=(1, 64),
    log=True,
    label="memory per step",
    unit="GiB",
)
