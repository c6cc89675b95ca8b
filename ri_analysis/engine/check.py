"""Everything that is wrong with a suite, all of it at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from ri_analysis.checkpoints import Checkpoint, Tower, read_tower
from ri_analysis.encoder import Architecture, Encoder, architecture_of, load_heads
from ri_analysis.errors import InputError
from ri_analysis.suite import ORIGINAL, ImageSet, Suite
from ri_analysis.suite.images import classes_of, skipped_of
from ri_analysis.suite.preprocessing import preprocessing_config
from ri_analysis.suite.spec import parse_spec
from ri_analysis.suite.suite import suite_path
from ri_analysis.task_vectors import TaskVectors


@dataclass
class Report:
    """What a check found.

    `findings` make the suite unusable or a part of it, `remarks` are worth knowing before its numbers are trusted, and
    `passed` says what is in order.
    """

    findings: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Add a finding once: one cause can show in several places."""
        if text not in self.findings:
            self.findings.append(text)

    def attempt(self, what: str, step: Callable[[], str]) -> None:
        """Run one step of the check; note its error, or what it found in order."""
        try:
            self.passed.append(f"{what}: {step()}")
        except InputError as error:
            self.note(str(error))


def check_suite(suite: str, workspace: Path | None = None) -> Report:
    """Check a suite file and every file it names: weights, heads, images, expert sets. Reads all weights once.

    `workspace` adds the expert sets resolved there, and keeps what need not be looked at again.
    """
    report = Report()
    try:
        spec, findings = parse_spec(suite_path(suite))
    except InputError as error:
        return Report([str(error)])
    if spec is None:
        return Report(findings)
    opened = Suite(spec, workspace)
    report.attempt("pretrained", lambda: _pretrained(opened, report))
    for experts in opened.expert_sets:
        for name in opened.tasks:
            report.attempt(f"expert {name} ({experts})", partial(_expert, opened, name, experts, report))
    for name in opened.tasks:
        report.attempt(f"head {name}", partial(_head, opened, name, report))
        report.attempt(f"images {name}", partial(_images, opened, name, report))
    for source in spec.auxiliary:
        report.attempt(f"auxiliary {source.name}", partial(_count, opened.auxiliary_data, source.name))
    for domain in spec.unseen:
        report.attempt(f"unseen {domain.name}", partial(_count, opened.unseen_data, domain.name))
    return report


def _count(read: Callable[[str], ImageSet], name: str) -> str:
    return f"{len(read(name))} images"


def _pretrained(suite: Suite, report: Report) -> str:
    source, architecture = suite.pretrained, architecture_of(suite)
    tower = read_tower(source)
    Encoder(architecture).load(tower.tensors, str(source.path))
    _finite(TaskVectors(tower.tensors, {}, {"pretrained": str(source.path)}).pretrained, tuple(tower.tensors))
    _activation(source, tower, architecture)
    _tag_activation(suite, architecture)
    count = sum(tensor.numel() for tensor in tower.tensors.values())
    return f"{suite.spec.architecture}, {tower.kind}, {count / 1e6:.2f} M parameters in the vision tower"


def _expert(suite: Suite, task: str, experts: str, report: Report) -> str:
    checkpoint = suite.expert(task, experts)
    tower = suite.tower(checkpoint)
    vectors = suite.task_vectors(experts, (task,))
    _finite(lambda name: vectors.expert(name, task), vectors.names)
    _activation(checkpoint, tower, architecture_of(suite))
    if experts == ORIGINAL:
        _account(checkpoint, tower, report)
    return f"{checkpoint.path.name}, {tower.kind}"


def _finite(read: Callable[[str], torch.Tensor], names: tuple[str, ...]) -> None:
    for name in names:
        read(name)  # raises where a value is NaN or infinite


def _activation(checkpoint: Checkpoint, tower: Tower, architecture: Architecture) -> None:
    if tower.quick_gelu is not None and tower.quick_gelu != architecture.quick_gelu:
        words = ("quick-GELU", "GELU") if tower.quick_gelu else ("GELU", "quick-GELU")
        name = architecture.name.removesuffix("-quickgelu") + ("-quickgelu" if tower.quick_gelu else "")
        raise InputError(
            f"{checkpoint.path}: was made with {words[0]}, the architecture {architecture.name} computes {words[1]}; "
            f"use the architecture {name!r}, or 'quick_gelu' in its JSON"
        )


def _tag_activation(suite: Suite, architecture: Architecture) -> None:
    config = preprocessing_config(suite.spec.architecture, suite.spec.pretrained, suite.spec.path.parent)
    if config.get("quick_gelu") and not architecture.quick_gelu:
        raise InputError(
            f"pretrained tag {suite.spec.pretrained!r} was made with quick-GELU, the architecture {architecture.name} "
            f"computes GELU; use '{architecture.name}-quickgelu'"
        )


def _account(checkpoint: Checkpoint, tower: Tower, report: Report) -> None:
    """Remark what was left out of a file and what was taken from the pretrained model instead."""
    if tower.filled:
        many = len(tower.filled) > 3
        names = f"{len(tower.filled)} tensors" if many else ", ".join(tower.filled)
        report.remarks.append(f"{checkpoint.path}: {names} taken from the pretrained model, the file has none")
    if tower.ignored:
        sample = ", ".join(tower.ignored[:3]) + (" …" if len(tower.ignored) > 3 else "")
        report.remarks.append(f"{checkpoint.path}: {len(tower.ignored)} entries not needed: {sample}")


def _head(suite: Suite, task: str, report: Report) -> str:
    head = load_heads(suite, architecture_of(suite), tasks=(task,))[task]
    scale, source = head.scale, suite.task(task).head or f"head of {task}"
    if scale is None:
        report.remarks.append(f"{source}: rows have different lengths, so there is no one logit scale; used as it is")
    elif abs(scale - 1) < 0.01:
        report.remarks.append(
            f"{source}: rows have length 1, so logits are bare cosines and probabilities nearly uniform: interference "
            f"in nats will be tiny. CLIP's scale is 100: add `logit_scale = 100.0` to [[task]] {task!r}"
        )
    return f"{len(head.classes)} classes" + ("" if scale is None else f", logit scale {scale:.4g}")


def _images(suite: Suite, task: str, report: Report) -> str:
    counts = []
    for split in ("test", "validation"):
        if split == "validation" and suite.task(task).validation is None:
            continue
        images = suite.task_data(task, split)
        counts.append(f"{len(images)} {split}")
        skipped = skipped_of(images)
        if skipped:
            sample = ", ".join(skipped[:5]) + (" …" if len(skipped) > 5 else "")
            report.remarks.append(f"{images.source}: {len(skipped)} damaged images skipped: {sample}")
        _order(suite, task, images)
    return ", ".join(counts)


def _order(suite: Suite, task: str, images: ImageSet) -> None:
    """Raise InputError where the data's own class names are the suite's in another order."""
    own = [_plain(name) for name in classes_of(images)]
    given = [_plain(name) for name in suite.class_names(task) or ()]
    if sorted(own) == sorted(given) and own != given:
        index = next(index for index, (left, right) in enumerate(zip(own, given, strict=True)) if left != right)
        raise InputError(
            f"{suite.task(task).classes}: class {index} must be {classes_of(images)[index]!r} as in {images.source}, "
            f"found {given[index]!r}: the same names in another order"
        )


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
