"""Hugging Face's CLIP: its names and layout → open_clip's, and back.

The tensors are the same but for q, k and v, which open_clip keeps as one matrix, and the projections, which it keeps
transposed. Names as in transformers' `modeling_clip.py` (`pre_layrnorm` is spelt so there).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ri_analysis.checkpoints.lazy import Maker, Read, Same, Tensors, outline
from ri_analysis.checkpoints.towers import HUGGING_FACE, PROJECTION
from ri_analysis.errors import InputError

Makers = dict[str, Maker]

_VISION = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.weight": "conv1.weight",
    "embeddings.patch_embedding.bias": "conv1.bias",
    "embeddings.position_embedding.weight": "positional_embedding",
    **{f"pre_layrnorm.{part}": f"ln_pre.{part}" for part in ("weight", "bias")},
    **{f"post_layernorm.{part}": f"ln_post.{part}" for part in ("weight", "bias")},
}
_TEXT = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    **{f"final_layer_norm.{part}": f"ln_final.{part}" for part in ("weight", "bias")},
}
_BLOCK = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_LAYER = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_RESBLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)[._](weight|bias)")
_PROJECTIONS = {"visual.proj": PROJECTION, "text_projection": "text_projection.weight"}
_QKV = ("q_proj", "k_proj", "v_proj")
_NOT_NEEDED = ("embeddings.position_ids",)  # buffers that only count


@dataclass(frozen=True)
class Place:
    """Where a tensor of Hugging Face lies: the canonical name, which of q, k, v there (None: all), transposed?"""

    name: str
    part: int | None = None
    transposed: bool = False

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the view of the canonical `tensor` that has Hugging Face's layout."""
        view = tensor if self.part is None else tensor.chunk(len(_QKV))[self.part]
        return view.T if self.transposed else view


def model_class(config: Mapping[str, Any], filled: bool) -> str:
    """Return the class the config names, or what the tensors show."""
    named = config.get("architectures")
    if isinstance(named, list) and named:
        return str(named[0])
    return "CLIPVisionModel" if filled else "CLIP"


def quick_gelu(config: Mapping[str, Any]) -> bool | None:
    """Return whether the config asks for quick-GELU; None where it does not say."""
    inner = config.get("vision_config")
    settings = {**config, **inner} if isinstance(inner, dict) else config
    if "hidden_act" in settings:
        return bool(settings["hidden_act"] == "quick_gelu")
    # transformers leaves defaults out of nested configs; CLIP's is quick-GELU.
    return True if config.get("model_type") in ("clip", "clip_vision_model") else None


def place(key: str) -> Place | None:
    """Return where the vision model's tensor `key` (without its model's prefix) lies; None when it has no such one."""
    if key == PROJECTION:
        return Place("visual.proj", transposed=True)
    if key in _VISION:
        return Place("visual." + _VISION[key])
    found = _LAYER.fullmatch(key)
    if found is None:
        return None
    block, name, kind = f"visual.transformer.resblocks.{found[1]}", found[2], found[3]
    part = name.removeprefix("self_attn.")
    if part in _QKV:
        return Place(f"{block}.attn.in_proj_{kind}", _QKV.index(part))
    return Place(f"{block}.{_BLOCK[name]}.{kind}") if name in _BLOCK else None


def vision_makers(tensors: Tensors, source: str) -> tuple[Makers, set[str]]:
    """Return what makes each canonical `visual.` tensor of a vision model under `vision_model.`, and the names used.

    Raises InputError for a tensor inside the vision model that CLIP's has not: it would compute something else.
    """
    makers, used = _makers(tensors, HUGGING_FACE, _VISION, "visual.", source)
    known = used | {HUGGING_FACE + name for name in _NOT_NEEDED}
    other = [name for name in tensors if name.startswith(HUGGING_FACE) and name not in known]
    if other:
        more = f" and {len(other) - 1} more" if other[1:] else ""
        raise InputError(f"{source}: tensor {other[0]!r}{more} in the vision model, which CLIP's does not have")
    if PROJECTION in tensors:
        makers["visual.proj"] = partial(_transposed, tensors, PROJECTION)
        used.add(PROJECTION)
    return makers, used


def text_makers(tensors: Tensors, source: str) -> Makers:
    """Return what makes each tensor of open_clip's text tower and the logit scale; empty where there is none."""
    makers, _ = _makers(tensors, "text_model.", _TEXT, "", source)
    if "text_projection.weight" in tensors and makers:
        makers["text_projection"] = partial(_transposed, tensors, "text_projection.weight")
    if "logit_scale" in tensors:
        makers["logit_scale"] = Same(tensors, "logit_scale")
    return makers


def _makers(tensors: Tensors, root: str, names: Mapping[str, str], prefix: str, source: str) -> tuple[Makers, set[str]]:
    makers: Makers = {}
    used = set()
    for key in tensors:
        inner = key.removeprefix(root)
        if not key.startswith(root):
            continue
        if inner in names:
            makers[prefix + names[inner]] = Same(tensors, key)
            used.add(key)
        elif layer := _LAYER.fullmatch(inner):
            block, kind = f"{prefix}transformer.resblocks.{layer[1]}", layer[3]
            if layer[2] in _BLOCK:
                makers[f"{block}.{_BLOCK[layer[2]]}.{kind}"] = Same(tensors, key)
            elif layer[2] == "self_attn.q_proj":
                parts = [key.replace("q_proj", part) for part in _QKV]
                missing = next((part for part in parts if part not in tensors), None)
                if missing is not None:
                    raise InputError(f"{source}: expected tensor {missing!r} beside {key!r}, found none")
                _require_alike(tensors, parts, source)
                makers[f"{block}.attn.in_proj_{kind}"] = partial(_joined, tensors, parts)
                used |= set(parts)
            else:
                continue
            used.add(key)
    return makers, used


def split(name: str, tensor: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    """Return what a tensor of open_clip's, of the vision or the text tower, is in Hugging Face's CLIP, by name there.

    Raises KeyError for one that is not in it.
    """
    if name in _PROJECTIONS:
        return [(_PROJECTIONS[name], tensor.T)]
    if name == "logit_scale":
        return [(name, tensor)]
    vision = name.startswith("visual.")
    root, names, inner = (HUGGING_FACE, _VISION, name[7:]) if vision else ("text_model.", _TEXT, name)
    found = _RESBLOCK.fullmatch(inner)
    if found is None:
        return [(root + {new: old for old, new in names.items()}[inner], tensor)]
    block, part, kind = f"{root}encoder.layers.{found[1]}", found[2], found[3]
    if part == "attn.in_proj":
        parts = zip(_QKV, tensor.chunk(len(_QKV)), strict=True)
        return [(f"{block}.self_attn.{one}.{kind}", rows) for one, rows in parts]
    return [(f"{block}.{ {new: old for old, new in _BLOCK.items()}[part] }.{kind}", tensor)]


def _require_alike(tensors: Tensors, names: Sequence[str], source: str) -> None:
    """Raise InputError where q, k and v can't be rows of one matrix."""
    first, *others = ((found.shape, found.dtype) for found in (outline(tensors, name) for name in names))
    other = next((index for index, found in enumerate(others, 1) if found != first), None)
    if other is not None or not first[0]:
        raise InputError(
            f"{source}: expected {', '.join(names)} of one shape and type, found {tuple(first[0])} {first[1]}"
            + (f" and {tuple(others[other - 1][0])} {others[other - 1][1]}" if other else "")
        )


def _joined(tensors: Tensors, names: Sequence[str], read: Read) -> torch.Tensor:
    return torch.cat([read(tensors, name) for name in names])


def _transposed(tensors: Tensors, name: str, read: Read) -> torch.Tensor:
    return read(tensors, name).T.contiguous()
