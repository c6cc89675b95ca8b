"""Sizes in a stranger's model config: looked at before anything of such a size is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ri_analysis import limits
from ri_analysis.errors import InputError

_SIZES = ("image_size", "patch_size", "width", "head_width", "layers", "embed_dim", "heads", "context_length")


def require_sizes(config: Mapping[str, Any], source: str) -> None:
    """Raise InputError for numbers in an open_clip model config that no model has, and names that lead elsewhere."""
    for key, value in _leaves(config):
        if isinstance(value, int | float):
            limits.require("model-number", abs(value), f"{source}: {key!r}")
            if key in _SIZES and value <= 0:
                raise InputError(f"{source}: expected {key!r} to be above 0, found {value!r}")
        if isinstance(value, int) and key in ("layers", "depth"):
            limits.require("model-layers", value, f"{source}: {key!r}")
        if isinstance(value, str) and key == "timm_model_name" and ":" in value:
            raise InputError(f"{source}: expected timm's own name of a model, found {value!r}, which leads elsewhere")
    if not isinstance(config.get("quick_gelu", False), bool):
        raise InputError(f"{source}: expected 'quick_gelu' to be true or false, found {config['quick_gelu']!r}")
    vision = config["vision_cfg"]
    image, patch = vision.get("image_size", 224), vision.get("patch_size", 16)
    if isinstance(image, int) and isinstance(patch, int):
        limits.require("model-patches", (image // max(patch, 1)) ** 2, source)


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all values that hold no others, under the key above them."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, key)
    else:
        yield key, value
