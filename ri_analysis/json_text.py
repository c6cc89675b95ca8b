"""JSON that every reader takes, and JSON of files that may be damaged."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def to_json(value: Any, indent: int | None = None) -> str:
    """Return `value` as JSON, with null for what is not a finite number: JSON has no NaN and no infinity."""
    return json.dumps(_plain(value), indent=indent, allow_nan=False)


def from_json(text: str | bytes) -> Any:
    """Return the value of JSON text. Raises ValueError for anything else, also for deeper nesting than is read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("too many levels of nesting") from None


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
