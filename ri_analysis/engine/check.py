"""Everything that is wrong with a suite, all of it at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch

from ri_analysis.checkpoints import vision_tower
from ri_analysis.encoder import Architecture, Encoder, load_heads, read_architecture
from ri_analysis.errors import InputError
from ri_analysis.suite import ImageSet, Suite
from ri_analysis.suite.spec import parse_spec
from ri_analysis.suite.suite import suite_path
from ri_analysis.task_vectors import TaskVectors


@dataclass
class Report:
    """What a check found: `findings` make the suite unusable or a part of it; `passed` says what is in order."""

    findings: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)

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


def check_suite(suite: str) -> Report:
    """Check a suite file and every file it names: weights, heads, images, expert sets. Reads all weights once."""
    report = Report()
    try:
        spec, findings = parse_spec(suite_path(suite))
    except InputError as error:
        return Report([str(error)])
    if spec is None:
        return Report(findings)
    opened = Suite(spec)
    report.attempt("pretrained", lambda: _pretrained(opened))
    for experts in opened.expert_sets:
        for name in opened.tasks:
            report.attempt(f"expert {name} ({experts})", partial(_expert, opened, name, experts))
    for name in opened.tasks:
        report.attempt(f"head {name}", partial(_head, opened, name))
        report.attempt(f"images {name}", partial(_images, opened, name))
    for source in spec.auxiliary:
        report.attempt(f"auxiliary {source.name}", partial(_count, opened.auxiliary_data, source.name))
    for domain in spec.unseen:
        report.attempt(f"unseen {domain.name}", partial(_count, opened.unseen_data, domain.name))
    return report


def _count(read: Callable[[str], ImageSet], name: str) -> str:
    return f"{len(read(name))} images"


def _architecture(suite: Suite) -> Architecture:
    return read_architecture(suite.spec.architecture, suite.spec.path.parent)


def _pretrained(suite: Suite) -> str:
    source, tower = suite.pretrained, vision_tower(suite.pretrained)
    Encoder(_architecture(suite)).load(tower, str(source.path))
    _finite(TaskVectors(tower, {}, {"pretrained": str(source.path)}).pretrained, tuple(tower))
    count = sum(tensor.numel() for tensor in tower.values())
    return f"{suite.spec.architecture}, {count / 1e6:.2f} M parameters in the vision tower"


def _expert(suite: Suite, task: str, experts: str) -> str:
    checkpoint = suite.expert(task, experts)
    vectors = suite.task_vectors(experts, (task,))
    _finite(lambda name: vectors.expert(name, task), vectors.names)
    return checkpoint.path.name


def _finite(read: Callable[[str], torch.Tensor], names: tuple[str, ...]) -> None:
    for name in names:
        read(name)  # raises where a value is NaN or infinite


def _head(suite: Suite, task: str) -> str:
    head = load_heads(suite, _architecture(suite), tasks=(task,))[task]
    return f"{len(head.classes)} classes"


def _images(suite: Suite, task: str) -> str:
    counts = [f"{len(suite.task_data(task))} test"]
    if suite.task(task).validation is not None:
        counts.append(f"{len(suite.task_data(task, 'validation'))} validation")
    return ", ".join(counts)
