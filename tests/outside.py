"""Plug-ins of each kind for tests, in files outside the package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ri_analysis import plugins
from ri_analysis.cli import main

METHOD, ANALYSIS, STUDY = "shrunk-mean", "certainty", "one-method"


def write(folder: Path, kind: str, name: str) -> Path:
    """Write the file of `ri-analysis new`; return it."""
    assert main(["new", kind, name, "--folder", str(folder)]) == 0
    return folder / f"{name.replace('-', '_')}.py"


@contextmanager
def all_kinds(folder: Path) -> Iterator[list[Path]]:
    """Write one plug-in of each kind; what is loaded meanwhile is taken out again."""
    before = plugins.loaded()
    try:
        yield [write(folder, *each) for each in (("method", METHOD), ("analysis", ANALYSIS), ("study", STUDY))]
    finally:
        for name in plugins.loaded():
            if name not in before:
                plugins.unload(name)
