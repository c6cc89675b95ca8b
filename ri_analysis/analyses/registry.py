"""Every module of this package that declares ANALYSIS is an analysis."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from ri_analysis.analyses.analysis import Analysis
from ri_analysis.errors import InputError
from ri_analysis.hyperparameters import suggest

ANALYSES: dict[str, Analysis[Any]] = {}


def register(analysis: Analysis[Any]) -> None:
    """Add an analysis: pages, command line, provenance and documents have it from now on.

    Raises InputError for a name that is taken.
    """
    if analysis.name in ANALYSES:
        raise InputError(f"analysis {analysis.name!r} exists already")
    ANALYSES[analysis.name] = analysis


def find_analysis(name: str) -> Analysis[Any]:
    """Return the analysis called `name`. Raises InputError with the near match when there is none."""
    if name not in ANALYSES:
        raise InputError(f"unknown analysis {name!r}; {suggest(name, list(ANALYSES))}")
    return ANALYSES[name]


def on_page(page: str) -> list[Analysis[Any]]:
    """Return a page's analyses in their order."""
    return sorted((each for each in ANALYSES.values() if each.page == page), key=lambda each: each.place)


def _discover() -> None:
    package = __name__.rpartition(".")[0]
    for item in iter_modules(import_module(package).__path__):
        if item.name not in ("registry", "__main__"):
            found = getattr(import_module(f"{package}.{item.name}"), "ANALYSIS", None)
            if isinstance(found, Analysis):
                register(found)


_discover()
