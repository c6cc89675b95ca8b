"""Every module of this package that declares STUDY is a study."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from ri_analysis.errors import InputError
from ri_analysis.hyperparameters import suggest
from ri_analysis.studies.study import Study


def _discover() -> dict[str, Study]:
    package = __name__.rpartition(".")[0]
    names = sorted(item.name for item in iter_modules(import_module(package).__path__) if item.name != "registry")
    found = (getattr(import_module(f"{package}.{name}"), "STUDY", None) for name in names)
    return {study.name: study for study in found if isinstance(study, Study)}


STUDIES: dict[str, Study] = _discover()


def find_study(name: str) -> Study:
    """Return the study called `name`. Raises InputError with the near match when there is none."""
    if name not in STUDIES:
        raise InputError(f"unknown study {name!r}; {suggest(name, list(STUDIES))}")
    return STUDIES[name]
