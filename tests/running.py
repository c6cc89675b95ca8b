"""Fixtures that run the app without a browser, for the folders whose conftest.py takes them over."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.runtime.scriptrunner import script_runner
from streamlit.testing.v1 import AppTest

from ri_analysis.ui import opening, pace, resources
from ri_analysis.views import estimate, map
from ri_analysis.views.live import component

Start = Callable[[Path | str], AppTest]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pages wait until a suite is looked through and a step is timed: AppTest does not come back for fragments."""
    monkeypatch.setattr(opening, "PATIENCE", 60.0)
    monkeypatch.setattr(estimate, "PATIENCE", 60.0)
    monkeypatch.setattr(pace, "SHORT", -1.0)  # long work waits for its button, however small the suite


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every run of a page register its components."""
    register_each_run(monkeypatch)


def register_each_run(patch: pytest.MonkeyPatch) -> None:
    """Have every run of a page register its components: each AppTest is a server; Streamlit 1.65 tells it of none."""
    run = AppTest._run

    def registering(app: AppTest, *arguments: Any, **named: Any) -> AppTest:
        for components in (component, map):
            components._component.cache_clear()
        return run(app, *arguments, **named)

    patch.setattr(AppTest, "_run", registering)


@pytest.fixture
def start(workspace: Path, monkeypatch: pytest.MonkeyPatch, registered: None) -> Start:
    """The app on a suite, before its first run; it may read all that lies beside the workspace."""
    return lambda suite: app_on(suite, workspace, monkeypatch)


def app_on(suite: Path | str, workspace: Path, patch: pytest.MonkeyPatch) -> AppTest:
    """Return the app on a suite, before its first run."""
    for name, value in ((resources.SUITE, suite), (resources.WORKSPACE, workspace), (resources.DEVICE, "cpu")):
        patch.setenv(name, str(value))
    patch.setenv(resources.ALLOW, str(workspace.parent))
    # Have AppTest run app.py: beside a folder pages/ it would run a page's script alone (see `preload`).
    patch.setattr(script_runner, "_mpa_v1", lambda path: runpy.run_path(path, run_name="__main__"))
    return AppTest.from_file(str(Path(__file__).resolve().parents[1] / "app.py"), default_timeout=300)


@pytest.fixture
def app(start: Start, tiny: Path) -> AppTest:
    """The app on the tiny suite, before its first run."""
    return start(tiny)
