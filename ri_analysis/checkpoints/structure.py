"""From what a pickle holds — a state dict, envelopes around some, a whole module — to tensors by name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ri_analysis import limits
from ri_analysis.checkpoints.towers import is_optimiser
from ri_analysis.checkpoints.unpickle import Inert, Storage, TensorNote
from ri_analysis.errors import InputError

_LIMIT = 1 << 26  # characters of names in all, each entry's counted with _COST more; a few MB are plenty
_COST = 64


@dataclass
class Flat:
    """Tensors by name, and what else was there.

    A tensor's name is the path to it, joined by dots, without what all of them share. `ignored` are entries without
    tensors, `unread` those made from tensor data by a call that is not one of torch's plain ones, and by which.
    `module` is the outermost pickled module's class, `attributes` its plain attributes, `classes` those of all modules.
    """

    tensors: dict[str, TensorNote] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    module: str = ""
    attributes: dict[str, object] = field(default_factory=dict)
    classes: set[str] = field(default_factory=set)


def flatten(tree: Any, source: str) -> Flat:
    """Return the tensors of a state dict, of a whole module, or of a lone tensor (named `tensor`).

    State dicts and modules are found wherever dictionaries, lists and plain objects hold them, but an optimiser's
    state is left out. Raises InputError where there are none.
    """
    if isinstance(tree, TensorNote):
        return Flat({"tensor": tree})
    walk = _Walk(source)
    if not walk.look_into(tree, ""):
        raise InputError(f"{source}: expected a state dict or a module, found {_what(tree)} without tensors")
    return walk.result()


class _Walk:
    """Looks into everything that holds something, and into modules as `Module.state_dict` does."""

    def __init__(self, source: str) -> None:
        self._source, self._flat = source, Flat()
        self._places: list[str] = []  # what stands before the names of each state dict and module that holds tensors
        self._seen = 0
        self._longest, self._deepest = limits.limit("name-characters"), limits.limit("levels")

    def result(self) -> Flat:
        """Return what was found, under names without the path that all tensors share."""
        flat, shared = self._flat, os.path.commonprefix(self._places)  # noqa: RUF071 (cut at a dot below)
        outer = shared[: shared.rfind(".") + 1]
        flat.tensors = {name.removeprefix(outer): note for name, note in flat.tensors.items()}
        flat.unread = {name.removeprefix(outer): kind for name, kind in flat.unread.items()}
        flat.ignored = [name.removeprefix(outer) for name in flat.ignored]
        return flat

    def look_into(self, value: object, prefix: str, above: tuple[int, ...] = ()) -> bool:
        """Take the tensors in `value`, which `prefix` leads to; return whether there are any."""
        if isinstance(value, Inert) and _is_module(value):
            return self._whole_module(value, prefix)
        if isinstance(value, dict) and "param_groups" in value:  # as in every optimiser's state dict
            return False
        before, left = len(self._flat.tensors), []
        for key, item in _entries(value):
            name = f"{prefix}{key}"
            self._visit(name, value, above)
            if isinstance(item, TensorNote):
                self._take(name, item)
                if self._places[-1:] != [prefix]:
                    self._places.append(prefix)
            elif is_optimiser(key) or not self.look_into(item, f"{name}.", (*above, id(value))):
                left.append((name, item))
        if len(self._flat.tensors) == before:
            return False
        self._flat.ignored += [name for name, _ in left]
        self._flat.unread |= {name: _what(item) for name, item in left if _made_of_data(item)}
        return True

    def _whole_module(self, module: Inert, prefix: str) -> bool:
        if not self._flat.module:
            self._flat.module = module.path
            self._flat.attributes = {k: v for k, v in module.attributes.items() if isinstance(v, int | float | str)}
        before = len(self._flat.tensors)
        self._module(module, prefix)
        self._places += [prefix] if len(self._flat.tensors) > before else []
        return len(self._flat.tensors) > before

    def _module(self, module: Inert, prefix: str, above: tuple[int, ...] = ()) -> None:
        self._visit(prefix, module, above)
        self._flat.classes.add(module.path)
        attributes = module.attributes
        scripted = module.path.startswith("__torch__")
        own = attributes if scripted else {**_dict(attributes, "_parameters"), **_buffers(attributes)}
        inner = attributes if scripted else _dict(attributes, "_modules")
        self._seen += _COST * (len(attributes) + len(own) + len(inner))
        for name, value in own.items():
            if isinstance(value, TensorNote):
                self._take(f"{prefix}{name}", value)
            elif _made_of_data(value):
                self._flat.unread[f"{prefix}{name}"] = _what(value)
        for name, child in inner.items():
            if isinstance(child, Inert):
                self._module(child, f"{prefix}{name}.", (*above, id(module)))

    def _take(self, name: str, tensor: TensorNote) -> None:
        if name in self._flat.tensors:
            raise InputError(f"{self._source}: two tensors are called {name!r}")
        self._flat.tensors[name] = tensor

    def _visit(self, name: str, value: object, above: tuple[int, ...]) -> None:
        """Raise InputError where the structure holds itself, or so much over and over that it has no end."""
        if len(name) > self._longest:
            limits.require("name-characters", len(name), self._source)
        self._seen += _COST + len(name)
        if id(value) in above or len(above) > self._deepest or self._seen > _LIMIT:
            raise InputError(f"{self._source}: expected a tree, found a structure that holds itself at {name[:80]!r}")


def _is_module(value: Inert) -> bool:
    return "_modules" in value.attributes or value.path.startswith("__torch__")


def _entries(value: object) -> Iterator[tuple[str, Any]]:
    """Yield what `value` holds, under names; of a list only what holds something itself."""
    if isinstance(value, dict):
        yield from ((str(key), item) for key, item in value.items())
    elif isinstance(value, list | tuple):
        yield from ((str(i), item) for i, item in enumerate(value) if isinstance(item, dict | list | tuple | Inert))
    elif isinstance(value, Inert):
        yield from ((str(key), item) for key, item in {**value.attributes, **value.entries}.items())


def _made_of_data(value: object, depth: int = 2) -> bool:
    """Whether `value` stands for a tensor that a call of another kind makes: quantised, sparse, an array of NumPy."""
    if isinstance(value, Inert):
        if value.path.rpartition(".")[2].startswith(("_rebuild", "_reconstruct")):
            return True
        value = value.arguments
    if isinstance(value, list | tuple) and not isinstance(value, Storage) and depth > 0:
        return any(_made_of_data(item, depth - 1) for item in value[:4])
    return isinstance(value, TensorNote | Storage)


def _dict(attributes: Mapping[str, Any], name: str) -> dict[Any, Any]:
    value = attributes.get(name)
    return dict(value) if isinstance(value, dict) else {}


def _buffers(attributes: Mapping[str, Any]) -> dict[Any, Any]:
    left_out = set(_texts(attributes.get("_non_persistent_buffers_set")))
    return {name: value for name, value in _dict(attributes, "_buffers").items() if name not in left_out}


def _texts(value: object) -> Iterator[str]:
    # A set is pickled as a call of `set` on a list of its items.
    items = value.arguments[0] if isinstance(value, Inert) and value.arguments else value
    if isinstance(items, list | set | frozenset | tuple):
        yield from (item for item in items if isinstance(item, str))


def _what(tree: object) -> str:
    if isinstance(tree, dict) and tree:
        return ", ".join(str(key)[:80] for key in list(tree)[:3])
    return tree.path if isinstance(tree, Inert) else type(tree).__name__
