"""A seeded and bounded part of what `tests/fuzz/run.py` does for hours."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ri_analysis import stamps

sys.path.insert(0, str(Path(__file__).parent))

from inputs import written
from readers import READERS, outcome

EXAMPLES = 60


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_or_hostile_file_is_one_message(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "_SETTLED", 0)  # each input lies in a folder of its own
    numbers = count()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def tried(data: st.DataObject) -> None:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        written(data.draw(READERS[name].draw()), folder)
        assert outcome(READERS[name], folder) in ("opened", "refused")

    tried()
