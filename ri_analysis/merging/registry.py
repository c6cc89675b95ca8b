"""Every module of this package and of `with_data` that declares METHOD is a merging method; plug-ins add to them."""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages

from ri_analysis.errors import InputError
from ri_analysis.merging.method import Method
from ri_analysis.plugins import Registry

_NOT_METHODS = {"merge", "recipe", "registry", "to_file"}  # they need the registry: importing them here is a circle

RESERVED = (
    *("experts", "tasks", "coefficients", "lines", "seed", "split", "limit", "progress", "out", "layout"),
    *("after", "only", "options", "blame"),
)
"""Names that hyperparameters can't have: in Python they are keywords of what takes hyperparameters as keywords."""


def _check(method: Method) -> None:
    for item in method.hyperparameters:
        if item.name in RESERVED or not item.name.isidentifier():
            raise InputError(f"merging method {method.name!r}: expected another name for hyperparameter {item.name!r}")


METHODS: Registry[Method] = Registry("METHOD", Method, "merging method", _check)


def find_method(name: str) -> Method:
    """Return the method called `name`. Raises InputError with the near match when there is none."""
    return METHODS.find(name)


def _discover() -> None:
    package = __name__.rpartition(".")[0]
    names = (item.name for item in walk_packages(import_module(package).__path__, f"{package}."))
    modules = [import_module(name) for name in names if name.rpartition(".")[2] not in _NOT_METHODS]
    methods = (module for module in modules if isinstance(getattr(module, "METHOD", None), Method))
    METHODS.discover(sorted(methods, key=lambda module: module.METHOD.statistic is not None))


_discover()
