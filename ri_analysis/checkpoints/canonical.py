"""The canonical names: open_clip's vision tower, every key with the prefix `visual.`"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from ri_analysis.checkpoints import hugging_face, lora
from ri_analysis.checkpoints.lazy import Computed, Same, Tensors
from ri_analysis.checkpoints.reader import Checkpoint
from ri_analysis.checkpoints.towers import (
    PREFIX,
    PROJECTION,
    Place,
    find_towers,
    model_names,
    refuse_parametrised,
    tower_names,
)
from ri_analysis.errors import InputError, one_message

_LINEARISED = re.compile(r"(^|\.)params0?\.\d+$|(^|\.)params0\.")


@dataclass(frozen=True)
class Tower:
    """The vision tower of a checkpoint, and an account of how it was read.

    `tensors` under canonical names; `kind` what the checkpoint is, in words; `taken` names used from it, `ignored`
    those left out, `filled` canonical names that came from the pretrained model; `quick_gelu` whether it was made
    for quick-GELU, None where the file does not say. `remarks` are whole sentences, each naming the file, about
    what was read differently from what a user would expect.
    """

    tensors: Tensors
    kind: str
    taken: int
    ignored: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()
    quick_gelu: bool | None = None
    remarks: tuple[str, ...] = ()


def vision_tower(checkpoint: Checkpoint, pretrained: Tensors | None = None) -> Tensors:
    """Return the vision tower's tensors of `checkpoint` under canonical names, still lazy; see `read_tower`."""
    return read_tower(checkpoint, pretrained).tensors


def read_tower(checkpoint: Checkpoint, pretrained: Tensors | None = None) -> Tower:
    """Return the vision tower of `checkpoint`, whatever format it is in.

    Accepts open_clip names (a whole CLIP or its vision tower, under any wrapper such as `module.` or `model.`),
    Hugging Face's CLIP vision models, and PEFT adapters. `pretrained` holds the canonical tensors that an adapter
    changes and that fill in a missing projection. Raises InputError when no vision tower is found or several that
    differ, for linearised checkpoints, and for a tower whose weights are not plain tensors.
    """
    with one_message(checkpoint.path, "a vision tower"):
        tower = _read(checkpoint, pretrained)
    return replace(tower, remarks=(*checkpoint.remarks, *tower.remarks)) if checkpoint.remarks else tower


def _read(checkpoint: Checkpoint, pretrained: Tensors | None) -> Tower:
    keys = list(checkpoint.tensors)
    linearised = next((key for key in keys if _LINEARISED.search(key)), None)
    if linearised is not None:
        raise InputError(
            f"{checkpoint.path}: a linearised (tangent) checkpoint, as key {linearised!r} shows: its output is not "
            f"that of a network with these weights, so it can't be merged as one; use a non-linear fine-tuning"
        )
    if "peft_type" in checkpoint.config or any(".lora_A." in key for key in keys):
        return _adapted(checkpoint, pretrained)
    place = _found(checkpoint)
    source = str(checkpoint.path)
    towers = find_towers(keys)
    names = tower_names(keys, place, towers, source)
    refuse_parametrised(names.values(), source)
    _refuse_unread(checkpoint, place, names)
    tower = (_hugging_face if place.hugging_face else _open_clip)(checkpoint, names, pretrained)
    if checkpoint.tower is not None or len(towers) < 2:
        return tower
    same = f"{source}: holds {len(towers)} vision towers of equal weights; the first, {place.prefix!r}, was read."
    return replace(tower, remarks=(*tower.remarks, same))


def _found(checkpoint: Checkpoint) -> Place:
    if checkpoint.place is not None:
        return checkpoint.place
    keys = list(checkpoint.tensors)
    refuse_parametrised(keys, str(checkpoint.path))
    sample = ", ".join(keys[:3]) or "no tensors"
    raise InputError(
        f"{checkpoint.path}: expected open_clip vision tower keys such as 'visual.conv1.weight', or Hugging Face's "
        f"'vision_model.embeddings.patch_embedding.weight', found {sample} …"
    )


def _refuse_unread(checkpoint: Checkpoint, place: Place, names: Mapping[str, str]) -> None:
    """Raise InputError where a part of the tower is a tensor of a kind that is not read."""
    own = {key.removeprefix(place.prefix).partition(".")[0] for key in names.values()}
    for key, kind in checkpoint.unread.items():
        # Without a prefix, only what lies beside the tower's own tensors is known to belong to it.
        inside = key.startswith(place.prefix) and (place.prefix or key.partition(".")[0] in own)
        if inside or key == place.wrapper + PROJECTION:
            raise InputError(f"{checkpoint.path}: {key!r} must be a plain tensor, found one made by {kind}")


def whole_model(checkpoint: Checkpoint) -> Tensors:
    """Return the tensors of a whole CLIP under open_clip's names, its text tower included if it has one.

    Where there are several, it is that around the vision tower that `read_tower` takes.
    """
    place, keys, source = _found(checkpoint), list(checkpoint.tensors), str(checkpoint.path)
    names = model_names(keys, place, find_towers(keys), source)
    if not place.hugging_face:
        return _renamed(checkpoint, names)
    vision = read_tower(checkpoint).tensors
    text = hugging_face.text_makers(_renamed(checkpoint, names), source)
    return Computed({**{key: Same(vision, key) for key in vision}, **text}, source)


def _renamed(checkpoint: Checkpoint, names: Mapping[str, str]) -> Tensors:
    makers = {new: Same(checkpoint.tensors, old) for new, old in names.items()}
    return Computed(makers, str(checkpoint.path))


def _open_clip(checkpoint: Checkpoint, names: Mapping[str, str], _pretrained: Tensors | None) -> Tower:
    used = set(names.values())
    left = [key for key in checkpoint.tensors if key not in used]
    kind = f"pickled module {checkpoint.module}" if checkpoint.module else "open_clip weights"
    return Tower(
        _renamed(checkpoint, names),
        kind,
        len(names),
        (*left, *checkpoint.ignored),
        quick_gelu=_activation(checkpoint.classes),
    )


def _activation(classes: frozenset[str]) -> bool | None:
    names = {name.rpartition(".")[2] for name in classes}
    if "QuickGELU" in names:
        return True
    return False if "GELU" in names else None


def _hugging_face(checkpoint: Checkpoint, names: Mapping[str, str], pretrained: Tensors | None) -> Tower:
    makers, found = hugging_face.vision_makers(_renamed(checkpoint, names), str(checkpoint.path))
    used = {names[name] for name in found}
    filled: tuple[str, ...] = ()
    projection = PREFIX + "proj"
    if projection not in makers and pretrained is not None and projection in pretrained:
        makers[projection] = Same(pretrained, projection)
        filled = (projection,)
    order = [name for name in pretrained or () if name in makers]
    makers = {name: makers[name] for name in (*order, *(name for name in makers if name not in set(order)))}
    left = [key for key in checkpoint.tensors if key not in used]
    kind = "Hugging Face " + hugging_face.model_class(checkpoint.config, bool(filled))
    ignored = (*left, *checkpoint.ignored)
    quick = hugging_face.quick_gelu(checkpoint.config)
    return Tower(Computed(makers, str(checkpoint.path)), kind, len(used), ignored, filled, quick)


def _adapted(checkpoint: Checkpoint, pretrained: Tensors | None) -> Tower:
    if pretrained is None:
        raise InputError(f"{checkpoint.path}: a LoRA adapter holds no model of its own; the pretrained one is needed")
    source = str(checkpoint.path)
    adapter = lora.read_adapter(checkpoint.tensors, checkpoint.config, pretrained, source)
    makers = {
        name: partial(lora.apply, pretrained, name, adapter.steps[name], source)
        if name in adapter.steps
        else Same(pretrained, name)
        for name in pretrained
    }
    filled = tuple(name for name in pretrained if name not in adapter.steps)
    left = tuple(key for key in checkpoint.tensors if key not in adapter.used)
    kind = f"PEFT LoRA adapter (r = {checkpoint.config['r']})"
    return Tower(Computed(makers, source), kind, len(adapter.used), left, filled, remarks=adapter.remarks)
