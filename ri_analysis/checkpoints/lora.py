"""PEFT's LoRA adapters: τ = scaling · B A on the pretrained weights (Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ri_analysis.checkpoints import hugging_face
from ri_analysis.errors import InputError

Tensors = Mapping[str, torch.Tensor]
_FACTOR = re.compile(r"(.+)\.lora_([AB])\.(?:[^.]+\.)?weight")
_VISION_ROOTS = re.compile(r"^.*?(?=encoder\.layers\.\d+\.)")


@dataclass
class Change:
    """How one canonical tensor changes: (which of q, k, v or None, A, B, scaling) of each low-rank update."""

    updates: list[tuple[int | None, torch.Tensor, torch.Tensor, float]] = field(default_factory=list)


def read_changes(
    tensors: Tensors, config: Mapping[str, Any], pretrained: Tensors, source: str
) -> tuple[dict[str, Change], set[str]]:
    """Return how each canonical tensor changes, and the adapter's names used.

    Updates of the text tower are left out. Raises InputError for kinds of adapters that are no plain LoRA, factors
    without their partner, and shapes that do not fit.
    """
    _refuse_other_kinds(tensors, config, source)
    changes: dict[str, Change] = {}
    used: set[str] = set()
    for key in tensors:
        found = _FACTOR.fullmatch(key)
        if found is None or found[2] == "B" or _is_text(key):
            continue
        other = key.replace(".lora_A.", ".lora_B.")
        if other not in tensors:
            raise InputError(f"{source}: expected tensor {other!r} beside {key!r}, found none")
        module = found[1].removeprefix("base_model.model.")
        name, part = _target(module, pretrained, source, key)
        down, up = tensors[key], tensors[other]
        _check_shapes(pretrained[name], part, down, up, f"{source}: {key!r}")
        scaling = _scaling(config, module, len(down), source)
        changes.setdefault(name, Change()).updates.append((part, down, up, scaling))
        used |= {key, other}
    if not changes:
        raise InputError(f"{source}: expected LoRA factors of the vision tower, found none")
    return changes, used


def apply(pretrained: Tensors, name: str, change: Change) -> torch.Tensor:
    """Return the pretrained tensor `name` with `change` made to it, computed in float32."""
    tensor = pretrained[name].float().clone()
    for part, down, up, scaling in change.updates:
        rows = tensor if part is None else tensor.chunk(3)[part]
        rows += scaling * (up.float() @ down.float())
    return tensor


def _refuse_other_kinds(tensors: Tensors, config: Mapping[str, Any], source: str) -> None:
    kind = config.get("peft_type", "LORA")
    if kind != "LORA":
        raise InputError(f"{source}: expected a LoRA adapter, found peft_type {kind!r}")
    if config.get("use_dora") or any("lora_magnitude_vector" in key for key in tensors):
        raise InputError(f"{source}: a DoRA adapter changes weights by more than B A; merge it into its model first")
    if config.get("fan_in_fan_out"):
        raise InputError(f"{source}: 'fan_in_fan_out' must be false for CLIP's linear layers, found true")
    if "r" not in config or "lora_alpha" not in config:
        raise InputError(f"{source}: expected 'r' and 'lora_alpha' in adapter_config.json, found none")
    other = next((key for key in tensors if not _FACTOR.fullmatch(key) and _of_vision(key)), None)
    if other is not None:
        raise InputError(
            f"{source}: expected LoRA factors only, found {other!r}; merge the adapter into its model first"
        )


def _of_vision(key: str) -> bool:
    return not _is_text(key) and ("resblocks." in key or "encoder.layers." in key)


def _is_text(key: str) -> bool:
    return "text_model." in key or (".transformer.resblocks." in key and "visual." not in key)


def _target(module: str, pretrained: Tensors, source: str, key: str) -> tuple[str, int | None]:
    inner = _VISION_ROOTS.sub("", module)
    found = hugging_face.weight_name(inner)
    if found is None and "visual." in module:
        name = "visual." + module.partition("visual.")[2].replace("base_layer.", "")
        found = (f"{name}.in_proj_weight", None) if name.endswith(".attn") else (f"{name}.weight", None)
    if found is None or found[0] not in pretrained:
        raise InputError(f"{source}: {key!r} changes no tensor of the pretrained vision tower")
    return found


def _check_shapes(weight: torch.Tensor, part: int | None, down: torch.Tensor, up: torch.Tensor, what: str) -> None:
    rows = weight.shape[0] // (1 if part is None else 3)
    fits = down.ndim == up.ndim == weight.ndim == 2 and down.shape[0] == up.shape[1]
    if not fits or (up.shape[0], down.shape[1]) != (rows, weight.shape[1]):
        raise InputError(
            f"{what}: B A must have shape {(rows, *weight.shape[1:])}, found B {tuple(up.shape)}, A {tuple(down.shape)}"
        )


def _scaling(config: Mapping[str, Any], module: str, rank: int, source: str) -> float:
    """Return lora_alpha / r (/ √r for rank-stabilised LoRA), with the patterns that set them per layer."""
    declared = _pattern(config.get("rank_pattern"), module, config["r"])
    if declared != rank:
        raise InputError(f"{source}: adapter_config.json says r = {declared} for {module!r}, the factors have {rank}")
    alpha = float(_pattern(config.get("alpha_pattern"), module, config["lora_alpha"]))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _pattern(patterns: object, module: str, default: Any) -> Any:
    if isinstance(patterns, dict):
        for pattern, value in patterns.items():
            # PEFT matches a pattern at the end of the layer's name.
            if module == pattern or module.endswith("." + str(pattern)):
                return value
    return default
