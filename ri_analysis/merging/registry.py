"""Every module of this package that declares METHOD is a merging method."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from ri_analysis.errors import InputError
from ri_analysis.hyperparameters import suggest
from ri_analysis.merging.method import Method

_NOT_METHODS = {"merge", "recipe", "registry", "to_file"}  # they need the registry: importing them here is a circle


def _discover() -> dict[str, Method]:
    package = __name__.rpartition(".")[0]
    folder = import_module(package).__path__
    names = (item.name for item in iter_modules(folder) if item.name not in _NOT_METHODS)
    modules = (import_module(f"{package}.{name}") for name in names)
    found = (getattr(module, "METHOD", None) for module in modules)
    return {method.name: method for method in found if isinstance(method, Method)}


METHODS: dict[str, Method] = _discover()


def find_method(name: str) -> Method:
    """Return the method called `name`. Raises InputError with the near match when there is none."""
    if name not in METHODS:
        raise InputError(f"unknown merging method {name!r}; {suggest(name, list(METHODS))}")
    return METHODS[name]
