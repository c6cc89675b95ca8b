"""Remarks on a suite's files, to be read before its numbers are trusted: whole sentences that name the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ri_analysis.checkpoints import Checkpoint, Tower, read_checkpoint, read_tower
from ri_analysis.encoder import Head
from ri_analysis.engine.store import Store
from ri_analysis.engine.wrong_weights import weight_remarks
from ri_analysis.errors import listing
from ri_analysis.suite import Suite


def suite_remarks(
    suite: Suite,
    tasks: Sequence[str],
    experts: Iterable[str],
    *,
    heads: Mapping[str, Head] | None = None,
    splits: Sequence[str] = ("test",),
    auxiliary: Sequence[str] = (),
    store: Store | None = None,
) -> tuple[str, ...]:
    """Return the remarks about what a command uses, each once.

    That is the pretrained model, the experts of `tasks` in the sets `experts`, the tasks' images of `splits`, and the
    auxiliary sources; their heads too where they are given. No weights are read: what is odd about them is told as far
    as `store` knows it. Raises InputError for a file that can't be used.
    """
    found = list(read_tower(suite.pretrained).remarks)
    for name in dict.fromkeys(experts):
        known = [task for task in suite.set_tasks(name) if task in tasks]
        for checkpoint in (suite.expert(task, name) for task in known):
            found += tower_remarks(checkpoint, suite.tower(checkpoint))
        found += weight_remarks(suite, store, name, known) if known else ()
    for task in tasks:
        if heads is not None:
            found += head_remarks(suite, task, heads[task])
        for split in splits:
            if split == "test" or suite.task(task).validation is not None:
                found += suite.task_data(task, split).remarks
    for source in auxiliary:
        found += suite.auxiliary_data(source).remarks
    return tuple(dict.fromkeys(found))


def file_remarks(suite: Suite, path: Path, tower: str | None = None) -> list[str]:
    """Return the remarks about somebody else's merged checkpoint; `tower` chooses among several vision towers."""
    checkpoint = read_checkpoint(path, tower=tower)
    return tower_remarks(checkpoint, suite.tower(checkpoint))


def tower_remarks(checkpoint: Checkpoint, tower: Tower) -> list[str]:
    """Return what was left out of a file of weights, and what was taken from the pretrained model instead."""
    found = []
    if tower.filled:
        many = len(tower.filled) > 3
        names = f"{len(tower.filled)} tensors" if many else ", ".join(tower.filled)
        found.append(f"{checkpoint.path}: {names} missing; taken from the pretrained model")
    if tower.ignored:
        found.append(f"{checkpoint.path}: unused entries: {listing(tower.ignored, 3)}")
    return [*found, *tower.remarks]


def head_remarks(suite: Suite, task: str, head: Head) -> list[str]:
    """Return what is unusual about the scale of a task's logits."""
    scale, source = head.scale, suite.task(task).head or f"head of {task}"
    if scale is None:
        return [f"{source}: rows have different lengths, so there is no single logit scale; used as it is"]
    if abs(scale - 1) < 0.01:
        return [
            f"{source}: rows have length 1, so logits are bare cosines and probabilities nearly uniform: interference "
            f"in nats will be tiny. CLIP's scale is 100: add `logit_scale = 100.0` to [[task]] {task!r}"
        ]
    return []
