"""A model: weights under a name and a digest. Pretrained, an expert, a merge, or any combination of task vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ri_analysis.checkpoints import read_checkpoint
from ri_analysis.encoder.tower import Weights
from ri_analysis.files import digest
from ri_analysis.progress import Progress
from ri_analysis.stamps import Watch
from ri_analysis.suite import ORIGINAL, Suite
from ri_analysis.suite.spec import PRETRAINED as PRETRAINED
from ri_analysis.task_vectors import TaskVectors


@dataclass(frozen=True)
class Model:
    """Weights that can be asked for, under a digest that names them.

    `name` is what errors call it. `weights` takes a Progress that may stop the merging, and returns canonical `visual.`
    tensors. `prepare` does what takes long and has to be done before, with a progress of its own.
    """

    name: str
    digest: str
    weights: Callable[[Progress | None], Weights]
    prepare: Callable[[Progress | None], object] = field(default=lambda _: None)


def pretrained_model(suite: Suite) -> Model:
    """Return θ₀."""
    return Model(str(suite.pretrained.path), suite.pretrained.digest, lambda _: suite.zero_shot)


def expert_model(suite: Suite, task: str, experts: str = ORIGINAL) -> Model:
    """Return one expert of an expert set, read with the same checks as for a merge."""
    checkpoint = suite.expert(task, experts)

    def weights(_: Progress | None) -> Weights:
        vectors = suite.task_vectors(experts, (task,))
        return ((name, vectors.expert(name, task)) for name in vectors.names)

    return Model(str(checkpoint.path), checkpoint.digest, weights)


def file_model(suite: Suite, path: Path, tower: str | None = None) -> Model:
    """Return somebody else's merged checkpoint, read as an expert's would be; `tower` chooses among several.

    Its weights end with ChangedFile where the file is another by then.
    """
    files = Watch()
    with files.noting():
        checkpoint = read_checkpoint(path, tower=tower)

    def weights(_: Progress | None) -> Iterator[tuple[str, torch.Tensor]]:
        towers = {"merged": suite.tower(checkpoint).tensors}
        vectors = TaskVectors(suite.zero_shot, towers, {"merged": str(path)})
        yield from ((name, vectors.expert(name, "merged")) for name in vectors.names)
        files.check()

    return Model(str(path), checkpoint.digest, weights)


def combined_model(suite: Suite, amounts: Mapping[str, float], experts: str = ORIGINAL) -> Model:
    """Return θ₀ + Σ_t amount_t τ_t. What has no part in it has none in its digest; θ₀ and an expert are themselves."""
    used = {task: amount for task, amount in amounts.items() if amount}
    if not used:
        return pretrained_model(suite)
    if list(used.values()) == [1.0]:
        return expert_model(suite, next(iter(used)), experts)
    parts = sorted(f"{amount} {suite.expert(task, experts).digest}" for task, amount in used.items())
    name = " + ".join(["θ₀", *(f"{amount:g} τ({task})" for task, amount in used.items())])
    return Model(name, digest("combined", suite.pretrained.digest, *parts), lambda _: _sums(suite, used, experts))


def _sums(suite: Suite, amounts: Mapping[str, float], experts: str) -> Iterator[tuple[str, torch.Tensor]]:
    vectors = suite.task_vectors(experts, tuple(amounts))
    for name in vectors.names:
        start = tensor = vectors.pretrained(name)
        if vectors.is_float(name):
            for task, amount in amounts.items():
                tensor = tensor + amount * (vectors.expert(name, task) - start)
        yield name, tensor
