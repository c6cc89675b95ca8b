"""Every module of this package that declares STUDY is a study; plug-ins add to them."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from ri_analysis.plugins import Registry
from ri_analysis.studies.study import Study

STUDIES: Registry[Study] = Registry("STUDY", Study, "study")


def find_study(name: str) -> Study:
    """Return the study called `name`. Raises InputError with the near match when there is none."""
    return STUDIES.find(name)


def _discover() -> None:
    package = __name__.rpartition(".")[0]
    names = sorted(item.name for item in iter_modules(import_module(package).__path__) if item.name != "registry")
    STUDIES.discover(import_module(f"{package}.{name}") for name in names)


_discover()
