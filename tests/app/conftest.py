from __future__ import annotations

import pytest

from ri_analysis.ui import opening


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pages wait until a suite is looked through: AppTest does not come back for fragments."""
    monkeypatch.setattr(opening, "PATIENCE", 60.0)
