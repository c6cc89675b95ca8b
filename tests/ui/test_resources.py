"""What the app was started with reaches what measures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ri_analysis.ui import resources


@pytest.mark.parametrize("asked", ["1", ""])
def test_float32_is_measured_in_where_it_was_asked_for(
    tiny: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch, asked: str
):
    given: list[torch.dtype | None] = []
    monkeypatch.setenv(resources.FLOAT32, asked)
    monkeypatch.setattr(resources, "Evaluator", lambda *_, number_format, **__: given.append(number_format))
    resources._evaluator.__wrapped__(str(tiny), "0", str(workspace), "cpu", resources.FOREGROUND)
    assert given == [torch.float32 if asked else None]
