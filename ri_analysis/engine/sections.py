"""The kinds of images on which a merge is measured."""

from __future__ import annotations

import numpy as np

from ri_analysis.encoder import Head
from ri_analysis.engine.models import PRETRAINED
from ri_analysis.engine.outcomes import Section
from ri_analysis.errors import InputError
from ri_analysis.resolving import record_of
from ri_analysis.suite import Suite

TEST, VALIDATION, UNSEEN, LEFT_OUT, JOINT, AUXILIARY = "test", "validation", "unseen", "left-out", "joint", "auxiliary:"
CROSSTALK = "crosstalk"


def task_section(suite: Suite, task: str, split: str = TEST) -> Section:
    """Return a task's images, held against its original expert."""
    return Section(task, suite.task_data(task, split), (task,), task)


def sections(suite: Suite, heads: dict[str, Head], tasks: tuple[str, ...], on: str) -> tuple[Section, ...]:
    """Return what a merge of `tasks` is measured on.

    `on` is "test" or "validation": images of the merged tasks; "left-out": test images of the tasks that were not
    merged; "unseen": the unseen domains whose tasks were merged; "joint": test images of the merged tasks, one
    classifier over all their labels; "auxiliary:NAME": an auxiliary source, seen through every merged task's head;
    "crosstalk": test images of the tasks, held against the pretrained model.
    Raises InputError for another kind.
    """
    if on in (TEST, VALIDATION):
        return tuple(task_section(suite, task, on) for task in tasks)
    if on == CROSSTALK:
        return tuple(Section(task, suite.task_data(task), (task,), PRETRAINED) for task in tasks)
    if on == LEFT_OUT:
        others = [task for task in suite.tasks if task not in tasks]
        return tuple(Section(task, suite.task_data(task), (task,), None) for task in others)
    if on == JOINT:
        firsts = np.cumsum([0, *(len(heads[task].classes) for task in tasks)])
        placed = zip(tasks, firsts, strict=False)
        return tuple(Section(task, suite.task_data(task), tasks, None, int(first)) for task, first in placed)
    if on == UNSEEN:
        domains = [domain for domain in suite.spec.unseen if set(domain.tasks) <= set(tasks)]
        return tuple(
            Section(domain.name, suite.unseen_data(domain.name), domain.tasks, _only(domain.tasks))
            for domain in domains
        )
    source = on.removeprefix(AUXILIARY)
    if source == on:
        raise InputError(f"expected a kind of images, found {on!r}")
    images = suite.auxiliary_data(source)
    return tuple(Section(task, images, (task,), task) for task in tasks)


def usual_source(suite: Suite) -> str:
    """Return the auxiliary source that the default RI set was made with; without one the suite's first.

    Raises InputError where the suite has none.
    """
    name, sources = suite.default_resolved, [item.name for item in suite.spec.auxiliary]
    recorded = {} if name is None else record_of(suite, name).get("auxiliary", {})
    if not sources:
        raise InputError(f"{suite.spec.path}: expected an [[auxiliary]] source, found none")
    return str(recorded["name"]) if recorded.get("name") in sources else sources[0]


def _only(tasks: tuple[str, ...]) -> str | None:
    return tasks[0] if len(tasks) == 1 else None
