"""From what a pickle holds — a state dict, an envelope around one, a whole module — to tensors by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ri_analysis.checkpoints.unpickle import Inert, TensorNote
from ri_analysis.errors import InputError

ENVELOPES = ("state_dict", "model_state_dict", "model", "module", "net")
_MODULE_LIMIT = 100_000  # modules in one model: more is a structure that repeats itself without end


@dataclass
class Flat:
    """Tensors by name, and what else was there: entries left out, the module's class and its plain attributes."""

    tensors: dict[str, TensorNote] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    module: str = ""
    attributes: dict[str, object] = field(default_factory=dict)
    classes: set[str] = field(default_factory=set)


def flatten(tree: Any, source: str) -> Flat:
    """Return the tensors of a state dict, of a whole module, or of a lone tensor (named `tensor`).

    Raises InputError where there are none.
    """
    flat = Flat()
    if isinstance(tree, TensorNote):
        flat.tensors["tensor"] = tree
    elif isinstance(tree, Inert):
        flat.module = tree.path
        flat.attributes = {k: v for k, v in tree.attributes.items() if isinstance(v, bool | int | float | str)}
        _Walk(flat, source).module(tree, "")
    elif isinstance(tree, dict):
        return _flatten_dict(tree, source)
    if not flat.tensors:
        raise InputError(f"{source}: expected a state dict or a module, found {_what(tree)} without tensors")
    return flat


def _flatten_dict(tree: Mapping[Any, Any], source: str) -> Flat:
    inner = next((key for key in ENVELOPES if _holds_tensors(tree.get(key))), None)
    if inner is not None:
        flat = flatten(tree[inner], source)
        flat.ignored += [str(key) for key in tree if key != inner]
        return flat
    flat = Flat()
    for key, value in tree.items():
        if isinstance(value, TensorNote):
            flat.tensors[str(key)] = value
        else:
            flat.ignored.append(str(key))
    if not flat.tensors:
        sample = ", ".join(str(key) for key in list(tree)[:3]) or "nothing"
        raise InputError(f"{source}: expected a state dict of tensors, found {sample} without tensors")
    return flat


def _holds_tensors(value: object) -> bool:
    if isinstance(value, Inert):
        return "_modules" in value.attributes
    return isinstance(value, dict) and any(isinstance(item, TensorNote) for item in value.values())


class _Walk:
    """Walks a module's parameters, buffers and submodules as `Module.state_dict` does."""

    def __init__(self, flat: Flat, source: str) -> None:
        self._flat, self._source, self._seen = flat, source, 0

    def module(self, module: Inert, prefix: str, above: tuple[int, ...] = ()) -> None:
        self._seen += 1
        if id(module) in above or self._seen > _MODULE_LIMIT or len(above) > 200:
            raise InputError(f"{self._source}: expected a tree of modules, found one that holds itself at {prefix!r}")
        self._flat.classes.add(module.path)
        attributes = module.attributes
        scripted = module.path.startswith("__torch__")
        own = attributes if scripted else {**_dict(attributes, "_parameters"), **_buffers(attributes)}
        for name, value in own.items():
            if isinstance(value, TensorNote):
                self._flat.tensors[f"{prefix}{name}"] = value
        inner = attributes if scripted else _dict(attributes, "_modules")
        for name, child in inner.items():
            if isinstance(child, Inert):
                self.module(child, f"{prefix}{name}.", (*above, id(module)))


def _dict(attributes: Mapping[str, Any], name: str) -> dict[Any, Any]:
    value = attributes.get(name)
    return dict(value) if isinstance(value, dict) else {}


def _buffers(attributes: Mapping[str, Any]) -> dict[Any, Any]:
    transient = attributes.get("_non_persistent_buffers_set")
    left_out = set(_texts(transient))
    return {name: value for name, value in _dict(attributes, "_buffers").items() if name not in left_out}


def _texts(value: object) -> Iterator[str]:
    # A set is pickled as a call of `set` on a list of its items.
    items = value.arguments[0] if isinstance(value, Inert) and value.arguments else value
    if isinstance(items, list | set | frozenset | tuple):
        yield from (item for item in items if isinstance(item, str))


def _what(tree: object) -> str:
    return tree.path if isinstance(tree, Inert) else type(tree).__name__
