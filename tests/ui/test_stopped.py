from __future__ import annotations

from pathlib import Path

import pytest
import streamlit as st

from ri_analysis.allowed import allow_only
from ri_analysis.ui import stopped


@pytest.mark.parametrize("hidden", [False, True])
def test_where_the_operators_files_lie_is_told_to_no_visitor(
    hidden: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that starts the app again names the workspace, plug-ins and folders as the operator typed them."""
    shown: list[str] = []
    monkeypatch.setattr(st, "html", lambda text, **_: shown.append(text))
    monkeypatch.setenv(stopped.COMMAND, f"ri-analysis app --workspace {tmp_path}")
    allow_only([tmp_path], hidden=hidden)
    stopped.watch()
    assert (str(tmp_path) in shown[0]) is not hidden
    assert "ri-analysis app" in shown[0]
