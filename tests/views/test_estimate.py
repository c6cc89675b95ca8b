from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import pytest

from ri_analysis.engine import Evaluator
from ri_analysis.errors import InputError
from ri_analysis.resolving import Pace, find_preset
from ri_analysis.ui import resources
from ri_analysis.views import estimate

PACE = Pace(
    step=1.0,
    trained=0.0,
    seen=0.0,
    decoded=0.0,
    varied=0.0,
    held=1,
    tokens=0,
    features=4,
    tower=10,
    file=10,
    moved=10,
    beside=30,
    precision="float32",
)


@pytest.fixture(autouse=True)
def fresh() -> None:
    resources.memory.clear()
    resources.jobs.clear()


def test_steps_are_timed_once_for_all_runs_that_share_them(
    evaluator: Evaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed, ready = list[dict[str, Any]](), Event()

    def pace(*given: Any) -> Pace:
        timed.append(given[2])
        ready.wait(30)
        return PACE

    monkeypatch.setattr(estimate, "pace", pace)
    monkeypatch.setattr(estimate, "PATIENCE", 0.01)
    settings = find_preset("quick").settings(evaluator.architecture) | {"blocks": 1}

    def ask(**changed: Any) -> Any:
        return estimate.expected(evaluator, "noise", settings | changed, ("Reds", "Blues"), 0, tmp_path / "new")

    assert ask() is None
    assert ask() is None  # and no second job
    ready.set()
    monkeypatch.setattr(estimate, "PATIENCE", 30.0)
    assert ask().seconds == pytest.approx(2 * 120 * 1.0)
    assert ask(steps=60).seconds == pytest.approx(2 * 60 * 1.0)
    assert len(timed) == 1
    ask(blocks=2)
    assert len(timed) == 2


def test_what_cannot_be_trained_says_so(evaluator: Evaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "PATIENCE", 30.0)
    settings = find_preset("quick").settings(evaluator.architecture) | {"blocks": 9}
    with pytest.raises(InputError, match="has 2 blocks, found 9"):
        estimate.expected(evaluator, "noise", settings, ("Reds",), 0, tmp_path / "new")
