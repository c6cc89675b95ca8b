"""What the app was started with reaches what measures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ri_analysis.engine import Evaluator
from ri_analysis.suite import open_suite
from ri_analysis.ui import measuring, resources


@pytest.mark.parametrize("asked", ["1", ""])
def test_float32_is_measured_in_where_it_was_asked_for(
    tiny: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch, asked: str
):
    given: list[torch.dtype | None] = []
    monkeypatch.setenv(resources.FLOAT32, asked)
    monkeypatch.setattr(resources, "Evaluator", lambda *_, number_format, **__: given.append(number_format))
    resources._evaluator.__wrapped__(str(tiny), "0", str(workspace), "cpu", resources.FOREGROUND)
    assert given == [torch.float32 if asked else None]


def test_a_name_that_is_typed_takes_nothing_from_others(tiny: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch):
    forgotten: list[None] = []
    monkeypatch.setattr(resources, "forget", lambda: forgotten.append(None))
    monkeypatch.setattr(resources, "_evaluator", lambda *_: None)
    monkeypatch.setattr(resources, "_opened", set[str]())
    known = dict(resources._reopened())
    for name in ("nowhere", "/etc/passwd/x", "\0", "x" * 5000):
        resources.reopen(name)
    assert resources._reopened() == known
    resources.reopen(str(tiny))
    assert not forgotten  # nobody has opened it
    resources.evaluator(suite=str(tiny))
    resources.reopen(str(tiny))
    assert len(forgotten) == 1
    resources._reopened().pop(str(tiny))


def test_a_page_that_began_before_the_suite_was_reopened_leaves_no_number_for_those_after(
    tiny: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, value in ((resources.SUITE, tiny), (resources.WORKSPACE, workspace), (resources.DEVICE, "cpu")):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(resources, "suite_name", lambda: str(tiny))
    for cache in (resources._evaluator, resources._files, resources.memory):
        cache.clear()
    before = resources.evaluator()
    recipe = before.recipe("averaging")
    old = before.measure(recipe)  # in the store
    images = np.load(tiny.parent / "Reds-test.npz")
    labels = (images["labels"] + 1) % 3
    np.savez_compressed(tiny.parent / "Reds-test.npz", images=images["images"], labels=labels)
    resources.reopen(str(tiny))  # by another session
    assert measuring.measure(before, recipe).table.equals(old.table)
    now = measuring.measure(resources.evaluator(), recipe)
    expected = Evaluator(open_suite(str(tiny)), workspace.parent / "other", "cpu").measure(recipe)
    assert now.table.equals(expected.table)
    assert not now.table.equals(old.table)
