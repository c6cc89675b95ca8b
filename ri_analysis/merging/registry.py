"""Every module of this package and of `with_data` that declares METHOD is a merging method."""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages

from ri_analysis.errors import InputError
from ri_analysis.hyperparameters import suggest
from ri_analysis.merging.method import Method

_NOT_METHODS = {"merge", "recipe", "registry", "to_file"}  # they need the registry: importing them here is a circle


def _discover() -> dict[str, Method]:
    package = __name__.rpartition(".")[0]
    names = (item.name for item in walk_packages(import_module(package).__path__, f"{package}."))
    modules = (import_module(name) for name in names if name.rpartition(".")[2] not in _NOT_METHODS)
    found = (getattr(module, "METHOD", None) for module in modules)
    methods = sorted((item for item in found if isinstance(item, Method)), key=lambda item: item.statistic is not None)
    return {method.name: method for method in methods}


METHODS: dict[str, Method] = _discover()


def find_method(name: str) -> Method:
    """Return the method called `name`. Raises InputError with the near match when there is none."""
    if name not in METHODS:
        raise InputError(f"unknown merging method {name!r}; {suggest(name, list(METHODS))}")
    return METHODS[name]
