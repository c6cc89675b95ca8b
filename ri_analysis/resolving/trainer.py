"""Adapt every expert of a suite, one after the other: resumable, cancellable, one tower in memory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ri_analysis import __version__
from ri_analysis.checkpoints import vision_tower, write_safetensors
from ri_analysis.encoder import Encoder, Head, load_heads
from ri_analysis.encoder.activation import fitting_architecture
from ri_analysis.files import write_text
from ri_analysis.hyperparameters import Hyperparameter, Value, complete
from ri_analysis.json_text import to_json
from ri_analysis.progress import Counter, Progress
from ri_analysis.resolving import plan
from ri_analysis.resolving.descent import SCHEDULES, Descent, Indices
from ri_analysis.resolving.objective import DISTANCES, Objective, Terms
from ri_analysis.resolving.variants import Variants
from ri_analysis.suite import ORIGINAL, ImageSet, Suite, sample
from ri_analysis.suite.images import in_memory
from ri_analysis.suite.suite import RECORD

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
        "distance",
        "distance between the outputs of two models",
        "kl",
        choices=tuple(DISTANCES),
        titles=("KL divergence", "cross-entropy", "mean squared error"),
    ),
    Hyperparameter(
        "lr", "learning rate of AdamW", 1e-6, 1e-9, 1.0, sweep=(1e-7, 1e-3), log=True, label="learning rate"
    ),
    Hyperparameter("weight_decay", "weight decay of AdamW", 1e-4, 0.0, 1.0, sweep=(0, 0.1)),
    Hyperparameter(
        "batch",
        "auxiliary images per step",
        128,
        1,
        8192,
        sweep=(16, 512),
        log=True,
        label="images per step",
        unit="images",
    ),
    Hyperparameter(
        "views",
        "the image itself and augmented copies of it",
        1,
        1,
        1000,
        sweep=(1, 16),
        log=True,
        label="augmented views per image",
        unit="augmented views",
    ),
    # The paper's schedule is not known; "constant" is the plain reading of its settings.
    Hyperparameter(
        "schedule",
        "how the learning rate changes over the steps",
        "constant",
        choices=tuple(SCHEDULES),
        titles=("constant rate", "cosine", "warm-up then cosine"),
        label="learning-rate schedule",
    ),
)


class Losses(NamedTuple):
    """An expert's losses at a step of its run, in the distance's unit."""

    task: str
    step: int
    keep: float
    free: float
    loss: float


def default_settings(suite: Suite) -> dict[str, Value]:
    """Return the settings a run starts from: those of the suite's default RI set, the paper's where it has none."""
    name = suite.default_resolved
    recorded = suite.record(name).get("settings", {}) if name is not None else {}
    known = {item.name for item in HYPERPARAMETERS}
    return complete(HYPERPARAMETERS, {key: value for key, value in recorded.items() if key in known}, "resolve")


def resolve(
    suite: Suite,
    *,
    auxiliary: str,
    name: str,
    images: int | None = None,
    settings: Mapping[str, object] | None = None,
    tasks: Sequence[str] | None = None,
    directory: Path | None = None,
    device: str | torch.device = "cpu",
    seed: int = 0,
    resume: bool = False,
    progress: Progress | None = None,
    report: Callable[[Losses], None] | None = None,
) -> Path:
    """Adapt the experts of `tasks` on an auxiliary source; return the folder of the new expert set.

    The set joins the suite when its record `resolve.json` is written, as the last file. The record holds name, suite,
    tasks, auxiliary {name, images, digest, oracle}, settings, seed, weights (digests), history {task: [[step, keep,
    free, loss], …]}, seconds and versions. `progress` counts the steps of all experts and may raise Cancelled: finished
    experts and the last saved state stay, and the same call with `resume` continues from there.

    Parameters
    ----------
    auxiliary: name of an auxiliary source of the suite; its images are all that RI sees.
    name: name of the new expert set.
    images: how many of the source's images are used, drawn by `seed` (all by default); see `sample`.
    settings: values of HYPERPARAMETERS that differ from `default_settings(suite)`.
    tasks: the experts that will be merged (all by default): only their heads enter the objective.
    directory: where the set goes, the suite's folder in the workspace by default.
    report: called with the losses at each step.

    Raises InputError for a name in use, unknown settings, or a run that does not match the one to resume.
    """
    names = tuple(tasks or suite.tasks)
    values = complete(HYPERPARAMETERS, {**default_settings(suite), **(settings or {})}, "resolve")
    folder = plan.folder_of(suite, name, directory)
    source = sample(suite.auxiliary_data(auxiliary), images, seed)
    wanted = plan.plan(suite, auxiliary, source, names, values, seed)
    architecture = fitting_architecture(suite, names)
    heads = load_heads(suite, architecture, names)
    with plan.begun(folder, wanted, resume):
        encoder = Encoder(architecture, device, batch=int(values["batch"]))
        pixels = in_memory(Variants(source, int(values["views"]), seed), encoder.image_size)
        descents = {
            task: Descent(encoder, pixels, values, (seed, *task.encode()), plan.state_path(folder, task))
            for task in names
        }
        rows = np.unique(np.concatenate([descent.rows() for descent in descents.values()]))
        pretrained = _teacher(encoder, vision_tower(suite.pretrained), pixels, rows, str(suite.pretrained.path))
        started, counter = time.monotonic(), Counter(progress, len(names) * int(values["steps"]))
        for task, descent in descents.items():
            _Run(suite, descent, heads, pretrained, task, folder).carry_out(counter, report or (lambda _: None))
        record = wanted | {
            "name": name,
            "history": {task: _read_history(folder, task) for task in names},
            "seconds": round(time.monotonic() - started, 1),
            "versions": {"ri-analysis": __version__, "torch": torch.__version__},
        }
        suite.files.check()
        write_text(folder / RECORD, to_json(record, indent=1) + "\n")
        for leftover in (folder / plan.PLAN, *(_history_path(folder, task) for task in names)):
            leftover.unlink(missing_ok=True)
    return folder


def cost(images: int, experts: int, settings: Mapping[str, Value]) -> tuple[int, int]:
    """Return how many images a run trains on, and how many its teachers look at, given a source of so many images."""
    images *= int(settings["views"])
    drawn = int(settings["steps"]) * min(int(settings["batch"]), images)
    different = min(images, drawn)
    return experts * drawn, min(images, experts * different) + experts * different


def _teacher(
    encoder: Encoder, weights: Mapping[str, torch.Tensor], images: ImageSet, rows: Indices, source: str
) -> torch.Tensor:
    """Return a frozen model's features (n, embed_dim) of all images, computed for those at `rows` and 0 elsewhere."""
    found = encoder.features(weights, images, rows, source=source)
    features = torch.zeros(len(images), found.shape[1])
    features[torch.from_numpy(rows)] = found
    return features


@dataclass(frozen=True)
class _Run:
    """The adaptation of one expert."""

    suite: Suite
    descent: Descent
    heads: Mapping[str, Head]
    pretrained: torch.Tensor
    task: str
    folder: Path

    def carry_out(self, counter: Counter, report: Callable[[Losses], None]) -> None:
        """Train from θ_t, or from the last saved state, and write the adapted expert."""
        output, encoder = plan.expert_path(self.folder, self.task), self.descent.encoder
        if not output.exists():
            self._write(output, encoder, counter, report)
        counter.advance(int(self.descent.settings["steps"]))

    def _write(self, output: Path, encoder: Encoder, counter: Counter, report: Callable[[Losses], None]) -> None:
        vectors = self.suite.task_vectors(ORIGINAL, (self.task,))
        weights = {name: vectors.expert(name, self.task) for name in vectors.names}
        source = str(self.suite.expert(self.task).path)
        expert = _teacher(encoder, weights, self.descent.images, self.descent.rows(), source)
        history = self._train(expert, counter, report)
        self.suite.files.check()
        write_text(_history_path(self.folder, self.task), to_json(history))
        original = self.suite.tower(self.suite.expert(self.task)).tensors
        state = encoder.state()
        layout = {key: (tuple(tensor.shape), tensor.dtype) for key, tensor in original.items()}
        write_safetensors(output, layout, ((key, state[key]) for key in layout), {"task": self.task, "method": "RI"})
        self.descent.state.unlink(missing_ok=True)

    def _train(self, expert: torch.Tensor, counter: Counter, report: Callable[[Losses], None]) -> list[list[float]]:
        settings, device = self.descent.settings, self.descent.encoder.device
        objective = Objective(self.heads, self.task, float(settings["alpha"]), device, str(settings["distance"]))

        def loss(adapted: torch.Tensor, rows: Indices) -> Terms:
            return objective(adapted, expert[rows].to(device), self.pretrained[rows].to(device))

        def after(step: int, parts: tuple[float, ...]) -> None:
            report(Losses(self.task, step, *parts))
            counter.within(step)

        return self.descent.run(loss, after)


def _history_path(folder: Path, task: str) -> Path:
    return folder / f"{task}-history.json"


def _read_history(folder: Path, task: str) -> list[list[float]]:
    """Return [step, keep, free, loss] rows of a finished expert."""
    rows: list[list[float]] = json.loads(_history_path(folder, task).read_text(encoding="utf-8"))
    return rows
