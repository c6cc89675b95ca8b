from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from streamlit.components.v2 import manifest_scanner
from tiny import make_suite

from ri_analysis.allowed import allow_only
from ri_analysis.engine import Evaluator
from ri_analysis.suite import open_suite

# Towers this small only lose by being shared between threads, here and in the processes that tests start.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"

# Each AppTest looks for components in all installed packages, which takes longer than most pages: once will do.
manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)


PART = "RI_ANALYSIS_LONG_TESTS"  # 2/4: of the tests and files that are marked long, the second of four parts

# Files that take longest go first: the last one would else run alone while the other workers wait.
LONGEST = (
    "test_states",
    "test_app",
    "test_nothing_lost",
    "test_registry",
    "test_studies",
    "test_side_by_side",
    "test_devices",
    "test_conduct",
    "test_embedded",
    "test_killed_runs",
    "test_live_table",
    "test_site_pages",
    "test_answer_first",
    "test_cli_system_errors",
    "test_changing_files",
    "test_answers_before",
    "test_parameters",
    "test_analysis_pages",
    "test_figures_page",
    "test_live_slide",
    "test_tray",
    "test_live",
    "test_compare",
    "test_resolve_page",
    "test_cells",
)


def pytest_configure(config: pytest.Config) -> None:
    """Have xdist keep that order: by itself it begins with the files that hold most tests."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
    part, parts = map(int, os.environ.get(PART, "1/1").split("/"))
    long = dict.fromkeys(_unit(item) for item in items if item.get_closest_marker("long"))
    left_out = {unit for number, unit in enumerate(long) if number % parts != part - 1}
    config.hook.pytest_deselected(items=[item for item in items if _unit(item) in left_out])
    items[:] = [item for item in items if _unit(item) not in left_out]


def _unit(item: pytest.Item) -> str:
    """Return the name of what runs or is left out as one: a file that is marked long as a whole, else a test."""
    module = item.getparent(pytest.Module)
    whole = module is not None and any(mark.name == "long" for mark in module.own_markers)
    return str(item.path) if whole else item.nodeid


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
