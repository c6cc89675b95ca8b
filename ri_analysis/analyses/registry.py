"""Every module of this package that declares ANALYSIS is an analysis; plug-ins add to them."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from ri_analysis.analyses.analysis import Analysis
from ri_analysis.plugins import Registry

ANALYSES: Registry[Analysis[Any]] = Registry("ANALYSIS", Analysis, "analysis")


def find_analysis(name: str) -> Analysis[Any]:
    """Return the analysis called `name`. Raises InputError with the near match when there is none."""
    return ANALYSES.find(name)


def on_page(page: str) -> list[Analysis[Any]]:
    """Return a page's analyses in their order."""
    return sorted((each for each in ANALYSES.values() if each.page == page), key=lambda each: each.place)


def _discover() -> None:
    package = __name__.rpartition(".")[0]
    names = (item.name for item in iter_modules(import_module(package).__path__))
    modules = (import_module(f"{package}.{name}") for name in names if name not in ("registry", "__main__"))
    ANALYSES.discover(modules)


_discover()
