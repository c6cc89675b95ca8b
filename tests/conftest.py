from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny import make_suite

from ri_analysis.allowed import allow_only
from ri_analysis.engine import Evaluator
from ri_analysis.suite import open_suite

torch.set_num_threads(1)  # towers this small only lose by being shared between threads


# Files that take longest go first: the last one would else run alone while the other workers wait.
LONGEST = (
    "test_killed_runs",
    "test_app",
    "test_states",
    "test_embedded",
    "test_conduct",
    "test_answers_before",
    "test_nothing_lost",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(autouse=True)
def own_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the default workspace out of the home folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture(autouse=True)
def any_file_may_be_read() -> Iterator[None]:
    """Have what a page allows to be read end with the test."""
    yield
    allow_only(None)


@pytest.fixture(scope="session")
def tiny_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_suite(tmp_path_factory.mktemp("tiny")).parent


@pytest.fixture
def tiny(tiny_template: Path, tmp_path: Path) -> Path:
    """A copy of the tiny suite that a test may damage; the path of its suite file."""
    return Path(shutil.copytree(tiny_template, tmp_path / "suite")) / "suite.toml"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


@pytest.fixture
def evaluator(tiny: Path, workspace: Path) -> Evaluator:
    return Evaluator(open_suite(str(tiny), workspace), workspace, "cpu")
