"""Keeps prepared images in one npz file: the arrays, and a JSON tree that says how they belong together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ri_analysis.files import atomic_path

_TREE = "tree"


def save(path: Path, value: Any) -> None:
    """Writes dataclasses, mappings, sequences, arrays and plain values, nested in any way."""
    arrays: dict[str, np.ndarray] = {}

    def pack(item: Any) -> Any:
        if isinstance(item, np.ndarray):
            arrays[f"array{len(arrays)}"] = item
            return {"array": f"array{len(arrays) - 1}"}
        if is_dataclass(item):
            content = {entry.name: pack(getattr(item, entry.name)) for entry in fields(item)}
            return {"class": type(item).__name__, "fields": content}
        if isinstance(item, Mapping):
            return {"mapping": {key: pack(part) for key, part in item.items()}}
        if isinstance(item, (list, tuple)):
            return {"tuple" if isinstance(item, tuple) else "list": [pack(part) for part in item]}
        return {"plain": item}

    tree = json.dumps(pack(value))
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **{_TREE: np.array(tree)}, **arrays)


def load(path: Path, *classes: type) -> Any:
    """Reads what `save` wrote; `classes` are the dataclasses that may occur."""
    known = {kind.__name__: kind for kind in classes}
    with np.load(path, allow_pickle=False) as arrays:

        def unpack(node: dict[str, Any]) -> Any:
            if "array" in node:
                return arrays[node["array"]]
            if "class" in node:
                return known[node["class"]](**{name: unpack(part) for name, part in node["fields"].items()})
            if "mapping" in node:
                return {key: unpack(part) for key, part in node["mapping"].items()}
            if "tuple" in node:
                return tuple(unpack(part) for part in node["tuple"])
            if "list" in node:
                return [unpack(part) for part in node["list"]]
            return node["plain"]

        return unpack(json.loads(str(arrays[_TREE])))
