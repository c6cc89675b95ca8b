"""The hyperparameters of an RI run, and what of them decides its outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ri_analysis.errors import InputError
from ri_analysis.hyperparameters import Hyperparameter, Value, listed, suggest
from ri_analysis.resolving.objective import DISTANCES
from ri_analysis.training import precision
from ri_analysis.training.settings import (
    BATCH,
    BLOCKS,
    MEMORY,
    PARAMETERS,
    RANK,
    RATE,
    SCHEDULE,
    VIEWS,
    WEIGHT_DECAY,
)

HYPERPARAMETERS = (
    Hyperparameter(
        "steps",
        "optimisation steps for each expert",
        2500,
        1,
        1_000_000,
        sweep=(50, 25000),
        log=True,
        label="steps per expert",
        unit="steps",
    ),
    Hyperparameter(
        "alpha",
        "weight of the free term, which keeps the expert from changing the other tasks' predictions",
        1.0,
        0.0,
        100.0,
        sweep=(0, 4),
        label="free weight α",
    ),
    Hyperparameter(
        "alphas",
        "free weight of individual experts where it differs, such as MNIST=0.5, separated by commas",
        "",
        label="free weight of individual experts",
    ),
    Hyperparameter(
        "distance",
        "distance between the outputs of two models",
        "kl",
        choices=tuple(DISTANCES),
        titles=("KL divergence", "cross-entropy", "mean squared error"),
    ),
    RATE,
    WEIGHT_DECAY,
    BATCH,
    VIEWS,
    Hyperparameter(
        "pool",
        "different images, augmented views included, that the steps draw from, the same for all experts; 0: all, or "
        "2,048 if only a large tower's last blocks are trained, as a new image then costs more than training on it",
        0,
        0,
        100_000_000,
        sweep=(0, 8192),
        label="pool of images",
        unit="images",
        zero="whole",
    ),
    SCHEDULE,
    PARAMETERS,
    BLOCKS,
    RANK,
    Hyperparameter(
        "together",
        "steps of a second stage, which corrects all experts together so that their sum reproduces each expert's "
        "predictions; 0: none",
        0,
        0,
        1_000_000,
        sweep=(0, 1000),
        label="second-stage steps",
        unit="steps",
    ),
    Hyperparameter(
        "together_scale",
        "factor λ of the experts' sum in the second stage",
        1.0,
        0.01,
        10.0,
        sweep=(0.3, 2.0),
        label="scale λ of the sum",
    ),
    Hyperparameter(
        "together_lr",
        "learning rate of the second stage",
        1e-4,
        1e-9,
        1.0,
        sweep=(1e-7, 1e-3),
        log=True,
        label="second-stage learning rate",
    ),
    Hyperparameter(
        "precision",
        "number format of training steps; auto: bfloat16 if a short trial finds it faster and in agreement",
        "auto",
        choices=precision.CHOICES,
        titles=("automatic number format", "float32", "bfloat16"),
        label="number format",
    ),
    MEMORY,
    Hyperparameter(
        "held_out",
        "share of the auxiliary images kept out of training, to monitor the run; at 0, those that training does not "
        "reach monitor it",
        0.0,
        0.0,
        0.9,
        sweep=(0, 0.5),
        label="held-out share",
    ),
    Hyperparameter(
        "patience",
        "looks at the held-out images without progress after which an expert's run stops and keeps its best weights (a "
        "whole run has 20 looks); 0: train to the end and keep the last weights",
        0,
        0,
        1000,
        sweep=(0, 10),
        unit="looks",
    ),
)

AS_EVER: Mapping[str, Value] = {
    "alphas": "",
    "parameters": "all",
    "precision": "auto",
    "held_out": 0.0,
    "patience": 0,
    "pool": 0,
    "together": 0,
}
"""Later hyperparameters, with the value that changes nothing: what an earlier version noted lacks them."""

_ONLY = {"blocks": "last-blocks", "rank": "lora"}  # hyperparameters that matter for one choice of parameters


def relevant(settings: Mapping[str, Value]) -> dict[str, Value]:
    """Return the settings that a run with them depends on."""
    choice, stage = settings.get("parameters", "all"), settings.get("together", 0)
    found = {name: value for name, value in settings.items() if _ONLY.get(name, choice) == choice}
    return {name: value for name, value in found.items() if stage or not name.startswith("together_")}


def identity(settings: Mapping[str, Value]) -> dict[str, Value]:
    """Return what of a run's settings names its result: not those that only say how it is computed.

    Settings that came later count where they change something, so that sets made before keep their names.
    """
    found = {name: value for name, value in relevant(settings).items() if name != "memory"}
    return {name: value for name, value in found.items() if name not in AS_EVER or value != AS_EVER[name]}


def free_weights(settings: Mapping[str, Value], tasks: Sequence[str]) -> dict[str, float]:
    """Return α of each of `tasks`: that of the setting `alphas` where it names the task, else `alpha`.

    Raises InputError where `alphas` names another task, one twice, or gives it no such number.
    """
    [declared] = [item for item in HYPERPARAMETERS if item.name == "alpha"]
    found: dict[str, float] = {}
    for text in listed(settings.get("alphas", "")):
        task, _, value = (part.strip() for part in text.rpartition("="))
        if task not in tasks:
            raise InputError(f"alphas: expected TASK=NUMBER, found {text!r}; {suggest(task, tasks)}")
        if task in found:
            raise InputError(f"alphas: expected every task once, found {task!r} twice")
        found[task] = float(declared.validate(value, f"alphas, {task}"))
    return {task: found.get(task, float(settings["alpha"])) for task in tasks}
