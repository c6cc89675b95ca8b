"""Which tensors of an adapter are of the vision tower: by the names in the file, and by the class it was made for."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ri_analysis.checkpoints.lora_settings import Settings
from ri_analysis.errors import InputError

# Copies that PEFT does not use, a buffer of older transformers, and what VeLoRA keeps for its backward pass.
_UNUSED = re.compile(r"(?:.*\.)?(?:original_module\..+|position_ids|lora_velora_embed(?:\..+)?)")
_TEXT = frozenset(
    {"text_model", "text_encoder", "text", "language_model", "text_projection", "token_embedding"}
    | {"final_layer_norm", "ln_final"}
)
# Names within a tower: Hugging Face's, open_clip's. A tower that was adapted by itself has them alone.
_BARE = re.compile(
    r"(?P<root>(?:.*\.)?)(?P<inner>(?:(?P<hugging>encoder\.layers\.\d+|embeddings|pre_layrnorm|post_layernorm)"
    r"|transformer\.resblocks\.\d+|conv1|ln_pre|ln_post)\..+)"
)
_ONLY_VISION = re.compile(r"conv1|ln_pre|ln_post|pre_layrnorm|post_layernorm|embeddings\.(?:patch|class)_embedding")
_VISION_CLASS = re.compile(r"Vision|ViT")
_WHOLE_OR_TEXT_CLASS = re.compile(r"Text|^CLIP$")  # in a whole CLIP the vision tower's names say so


@dataclass(frozen=True)
class Name:
    """A tensor's name: `root` what stands before the tower, `inner` the name in it; whether Hugging Face's names."""

    root: str
    inner: str
    hugging: bool


def vision_names(keys: Collection[str], settings: Settings, source: str) -> tuple[dict[str, Name], list[str]]:
    """Return the names of those `keys` that are of the vision tower, and remarks on what was left out or assumed.

    Raises InputError where there are none, for an adapter of a text tower, and for adapters of several vision towers.
    """
    every = frozenset(keys)
    keys = [key for key in keys if not _UNUSED.fullmatch(key) and not _saved_twice(key, every)]
    own = {key: name for key in keys if (name := _said(key)) is not None}
    text = [key for key in keys if key not in own and not _TEXT.isdisjoint(key.split("."))]
    bare = {key: name for key in keys if key not in own and key not in text and (name := _bare(key)) is not None}
    beside = {name.root for name in own.values()} | {_text_root(key) for key in text}
    text += [key for key, name in bare.items() if name.root in beside]
    remarks = []
    if not own and not _WHOLE_OR_TEXT_CLASS.search(settings.model):
        own = {key: name for key, name in bare.items() if name.root not in beside}
        remarks = _doubts(own, settings, source)
    if not own:
        found = "one of a text tower" if text or bare else "none of its layers"
        sample = next(iter([*text, *bare, *keys]), "no tensor")
        raise InputError(f"{source}: expected an adapter of a vision tower, found {found}, as {sample!r} shows")
    roots = sorted({name.root for name in own.values()})
    if len(roots) > 1:
        raise InputError(
            f"{source}: expected an adapter of one vision tower, found several: {', '.join(map(repr, roots))}"
        )
    other = [key for key in keys if key not in own and key not in text]
    remarks += [
        f"{source}: {len(left)} tensor{'s' * (len(left) > 1)} {where}, such as {left[0]!r}, left out: only the vision "
        f"tower is read."
        for left, where in ((text, "of the text tower"), (other, "outside the vision tower"))
        if left
    ]
    return own, remarks


def _saved_twice(key: str, keys: Collection[str]) -> bool:
    # With bias "all" PEFT writes the biases of `modules_to_save` under two names, and reads the plain one.
    return ".modules_to_save." in key and key.replace(".modules_to_save.", ".") in keys


def _said(key: str) -> Name | None:
    """Return the name of a tensor that says it is of a vision tower, None for others."""
    parts = key.removeprefix("base_model.model.").split(".")
    for marker, inside, hugging in (("vision_model", 1, True), ("visual", 1, False), ("visual_projection", 0, True)):
        if marker in parts:
            at = parts.index(marker)
            return Name(".".join(parts[:at]), ".".join(parts[at + inside :]), hugging)
    return None


def _bare(key: str) -> Name | None:
    """Return the name of a tensor of a tower that may be either, None for others."""
    found = _BARE.fullmatch(key.removeprefix("base_model.model."))
    return (
        None if found is None else Name(found["root"].removesuffix("."), found["inner"], found["hugging"] is not None)
    )


def _text_root(key: str) -> str:
    parts = key.removeprefix("base_model.model.").split(".")
    return ".".join(parts[: next(at for at, part in enumerate(parts) if part in _TEXT)])


def _doubts(bare: Mapping[str, Name], settings: Settings, source: str) -> list[str]:
    if (
        _VISION_CLASS.search(settings.model)
        or any(_ONLY_VISION.match(name.inner) for name in bare.values())
        or not bare
    ):
        return []
    return [
        f"{source}: neither the names of its tensors nor 'auto_mapping' in adapter_config.json say whether the adapter "
        f"is of a vision or a text tower; it was read as one of the vision tower, which its layers fit."
    ]
