"""What a file of weights is: a vision tower with its sizes, an adapter, or a head. Values are read where asked for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ri_analysis.checkpoints import Checkpoint, classifier_weight, look_into, outline, read_metadata
from ri_analysis.checkpoints.hugging_face import quick_gelu
from ri_analysis.checkpoints.towers import Place, find_towers, tower_names
from ri_analysis.documents import read_json
from ri_analysis.errors import InputError

_LINEARISED = re.compile(r"(^|\.)params0?\.")
_BLOCK = re.compile(r"(?:transformer\.resblocks|encoder\.layers)\.(\d+)\.")
# Small tensors by which models are compared, under both kinds of names.
_SAMPLE = (
    *("class_embedding", "positional_embedding", "ln_post.weight", "ln_post.bias"),
    *("embeddings.class_embedding", "embeddings.position_embedding.weight"),
    *("post_layernorm.weight", "post_layernorm.bias"),
)
# What a vision or text tower of open_clip's own kind is described by; with anything else it has other tensors.
_PLAIN_VISION = {"width", "patch_size", "layers", "image_size", "head_width", "mlp_ratio", "patch_dropout"}


@dataclass(frozen=True)
class Sizes:
    """A ViT's sizes: width, side of a patch, blocks, positions (patches and the class token), width of the output.

    The output's is 0 where the file does not hold the projection; `vocabulary` and `text_width` are those of the text
    tower beside it, 0 without one. Of another kind of tower `values` tells how many values it has; 0 of a plain ViT.
    """

    width: int
    patch: int
    layers: int
    positions: int
    output: int = 0
    vocabulary: int = 0
    text_width: int = 0
    values: int = 0

    @property
    def tower(self) -> tuple[int, ...]:
        """What two towers must have in common to be merged, as far as every file says it."""
        return self.width, self.patch, self.layers, self.positions, self.values

    def __str__(self) -> str:
        if self.values:
            return f"no plain ViT, {self.values / 1e6:.1f} M values"
        side = round((self.positions - 1) ** 0.5) * self.patch
        output = f", output {self.output}" if self.output else ""
        return f"width {self.width}, {self.layers} blocks, patches of {self.patch}, images of {side}{output}"


@dataclass(frozen=True)
class Model:
    """A file or folder with a vision tower.

    `remark` is what keeps it from being read as it is, `sample` some small tensors by their names in the tower, by
    which two models are told apart; `quick_gelu` as in Tower; `ours` whether it is a merge made by this program.
    """

    path: Path
    sizes: Sizes
    quick_gelu: bool | None
    hugging_face: bool
    remark: str = ""
    ours: bool = False
    sample: Mapping[str, torch.Tensor] = field(default_factory=dict, compare=False, repr=False)

    @property
    def has_text(self) -> bool:
        """Whether a whole text tower lies beside the vision tower."""
        return self.sizes.text_width > 0


@dataclass(frozen=True)
class Adapter:
    """A PEFT adapter; `base` is the last part of the name of the model that it says it was made for."""

    path: Path
    base: str


@dataclass(frozen=True)
class HeadFile:
    """A file with one classifier."""

    path: Path
    classes: int
    width: int


def what_is(path: Path) -> Model | Adapter | HeadFile:
    """Return what the checkpoint at `path` is. Raises InputError for one that is none of these, or can't be read."""
    found = look_into(path)
    keys = list(found.tensors)
    if "peft_type" in found.config or any(".lora_A." in key for key in keys):
        base = found.config.get("base_model_name_or_path")
        return Adapter(path, base.rstrip("/").rpartition("/")[2] if isinstance(base, str) else "")
    if any(_LINEARISED.search(key) for key in keys):
        raise InputError(f"{path}: a linearised (tangent) checkpoint, which can't be merged as a network's weights")
    towers = find_towers(keys)
    if towers:
        return _model(path, found, towers)
    weight = classifier_weight(found)
    return HeadFile(path, *map(int, weight.shape))


def _model(path: Path, found: Checkpoint, towers: tuple[Place, ...]) -> Model:
    remark = ""
    try:
        place = found.place or towers[0]
    except InputError as error:  # several that differ
        place, remark = towers[0], str(error).removeprefix(f"{path}: ")
    names = tower_names(list(found.tensors), place, towers, str(path))
    names = {re.sub(r"^(visual|vision_model)\.", "", new): old for new, old in names.items()}
    shapes = {name: tuple(outline(found.tensors, old).shape) for name, old in names.items()}
    sample = {name: found.tensors[names[name]].clone() for name in _SAMPLE if name in names}
    classes = {name.rpartition(".")[2] for name in found.classes}
    pickled = True if "QuickGELU" in classes else False if "GELU" in classes else None
    return Model(
        path,
        _sizes(shapes, found, place),
        quick_gelu(found.config) if place.hugging_face else pickled,
        place.hugging_face,
        remark,
        path.suffix == ".safetensors" and "recipe" in read_metadata(path),
        sample,
    )


def _sizes(shapes: Mapping[str, tuple[int, ...]], found: Checkpoint, place: Place) -> Sizes:
    def side(at: int, *names: str) -> int:
        return next((shapes[name][at] for name in names if len(shapes.get(name, ())) > max(at, -at - 1)), 0)

    blocks = {match[1] for name in shapes if (match := _BLOCK.match(name))}
    patches = ("conv1.weight", "embeddings.patch_embedding.weight")
    text = (f"{place.wrapper}token_embedding.weight", f"{place.wrapper}text_model.embeddings.token_embedding.weight")
    # A pickled ImageEncoder keeps the embedding of tokens, but not the blocks that follow.
    text_blocks = (f"{place.wrapper}transformer.resblocks.0.", f"{place.wrapper}text_model.encoder.layers.0.")
    whole = any(name.startswith(text_blocks) for name in found.tensors)
    vocabulary = next(
        (tuple(outline(found.tensors, name).shape) for name in text if whole and name in found.tensors), (0, 0)
    )
    projection = "visual_projection.weight"
    tower = (side(0, *patches), side(-1, *patches), len(blocks))
    positions = side(0, "positional_embedding", "embeddings.position_embedding.weight")
    return Sizes(
        *tower,
        positions,
        side(0, projection) if projection in shapes else side(1, "proj"),
        *(vocabulary if len(vocabulary) == 2 else (0, 0)),
        values=0 if all(tower) and positions else sum(map(math.prod, shapes.values())),
    )


# --- which architecture -----------------------------------------------------------------------------------


def config_sizes(config: Mapping[str, Any]) -> Sizes | None:
    """Return the sizes that an open_clip model config describes; None for what is no plain ViT with a text tower."""
    vision, text = config.get("vision_cfg"), config.get("text_cfg")
    if not isinstance(vision, dict) or not isinstance(text, dict) or config.get("custom_text"):
        return None
    if not vision.keys() <= _PLAIN_VISION or "hf_model_name" in text:
        return None
    patch, image, vocabulary = (
        vision.get("patch_size", 16),
        vision.get("image_size", 224),
        text.get("vocab_size", 49408),
    )
    width, layers, output = vision.get("width", 768), vision.get("layers", 12), config.get("embed_dim", 0)
    numbers = (width, patch, layers, image, output, vocabulary, text.get("width", 512))
    if not all(isinstance(number, int) and number > 0 for number in numbers):
        return None
    return Sizes(width, patch, layers, (image // patch) ** 2 + 1, output, vocabulary, text.get("width", 512))


def fits(described: Sizes | None, found: Sizes) -> bool:
    """Whether a tower of sizes `found` may be of the architecture `described`: what a file does not hold fits all."""
    if described is None or described.tower != found.tower:
        return False
    pairs = ((described.output, found.output), (described.vocabulary, found.vocabulary))
    return all(there in (0, own) for own, there in (*pairs, (described.text_width, found.text_width)))


def fitting(found: Sizes) -> dict[str, Sizes]:
    """Return open_clip's architectures that fit, by name, the plainest first; names with quick-GELU end so."""
    return {name: sizes for name, sizes in _named_sizes().items() if sizes is not None and fits(sizes, found)}


@lru_cache(maxsize=1)
def _named_sizes() -> dict[str, Sizes | None]:
    import open_clip  # slow to import

    names = sorted(open_clip.list_models(), key=lambda name: (len(name), name))
    return {name: config_sizes(open_clip.get_model_config(name) or {}) for name in names}


def read_config(path: Path) -> tuple[Sizes | None, bool]:
    """Return the sizes in an open_clip model config (JSON), None in another file, and whether it has quick-GELU."""
    try:
        document = read_json(path)
    except InputError:
        return None, False
    config = document.get("model_cfg", document) if isinstance(document, dict) else {}
    return (config_sizes(config), bool(config.get("quick_gelu"))) if isinstance(config, dict) else (None, False)


# --- which of them the others come from -------------------------------------------------------------------


def same(one: Model, two: Model) -> bool:
    """Whether what is compared of two models is bitwise equal."""
    return one.sample.keys() == two.sample.keys() and all(
        torch.equal(one.sample[name], two.sample[name]) for name in one.sample
    )


def amid(models: list[Model]) -> Model | None:
    """Return the model that the others may be fine-tuned from: it lies amid them, clearly nearer than any other.

    Task vectors are close to orthogonal, so that θ₀ is nearer to every expert than two experts are to one another.
    None for fewer than three, and where it is not clear.
    """
    if len(models) < 3 or len({frozenset(model.sample) for model in models}) > 1:
        return None
    flat = [torch.cat([model.sample[name].double().reshape(-1) for name in sorted(model.sample)]) for model in models]
    if len({len(each) for each in flat}) > 1 or not len(flat[0]):
        return None
    sums = [float(sum(((one - two) ** 2).sum() for two in flat)) for one in flat]
    (first, index), (second, _) = sorted(zip(sums, range(len(sums)), strict=True))[:2]
    return models[index] if first < 0.8 * second else None
