"""PEFT's LoRA adapters, as PEFT loads and merges them (Hu et al. 2021, arXiv 2106.09685).

A layer's weight W, in the layout of its module (a row for each output), becomes W + scaling · B A. DoRA then gives
each row a length of its own (Liu et al. 2024, arXiv 2402.09353). PiSSA and OLoRA moved a part of W into the factors
before training (Meng et al. 2024, arXiv 2404.02948; Büyükakyüz 2024, arXiv 2406.01775), which is taken out of W first.
Tensors trained as a whole (`modules_to_save`, biases) take the place of the pretrained ones.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ri_analysis.checkpoints import hugging_face
from ri_analysis.checkpoints.hugging_face import Place
from ri_analysis.checkpoints.lazy import Read, Tensors, outline
from ri_analysis.checkpoints.lora_names import Name, vision_names
from ri_analysis.checkpoints.lora_settings import Settings, read_settings
from ri_analysis.errors import InputError

Step = Callable[[torch.Tensor], None]

_FACTOR = re.compile(r"(.+)\.(lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)((?:\.[^.]+)*)")
_WRAPPERS = re.compile(r"(?<![^.])(?:base_layer\.|modules_to_save\.[^.]+\.)")
_ATTENTION_OUT = ".base_layer.out_proj"
_KINDS = ("lora_A", "lora_B", "lora_B.bias", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector")
_PLAIN = (".lora_A.weight", ".lora_B.weight")


@dataclass(frozen=True)
class Adapter:
    """What an adapter does: the steps that change each canonical tensor, in order; the names used; remarks."""

    steps: Mapping[str, Sequence[Step]]
    used: frozenset[str]
    remarks: tuple[str, ...]


def read_adapter(tensors: Tensors, config: Mapping[str, Any], pretrained: Tensors, source: str) -> Adapter:
    """Return what the adapter does to the canonical tensors `pretrained`.

    What is of no vision tower is left out, with a remark. Raises InputError for an adapter of a text tower, for kinds
    that are not computed, and for anything of the vision tower that can't be applied.
    """
    settings = read_settings(config, source)
    names, remarks = vision_names(list(tensors), settings, source)
    reader = _Reader(tensors, settings, pretrained, source)
    steps: dict[str, list[Step]] = defaultdict(list)
    factors = {key: name for key, name in names.items() if _FACTOR.fullmatch(name.inner)}
    replaced = {reader.whole_place(key, name): key for key, name in names.items() if key not in factors}
    for place, key in replaced.items():
        steps[place.name].append(reader.replacement(key, place))
    layers = _layers(factors, source)
    for layer in layers:
        for changed, step in reader.layer_steps(layer, replaced):
            steps[changed].append(step)
    remarks += _remarks(layers, settings, source)
    return Adapter(steps, frozenset(names), tuple(remarks))


def apply(pretrained: Tensors, name: str, steps: Sequence[Step], source: str, read: Read) -> torch.Tensor:
    """Return the pretrained tensor `name` with `steps` made to it, computed in float32."""
    tensor = read(pretrained, name).float().clone()
    if tensor.is_meta:  # no step changes its shape
        return tensor
    for step in steps:
        step(tensor)
    if not torch.isfinite(tensor).all():
        raise InputError(f"{source}: expected finite weights, found that {name!r} becomes infinite or NaN")
    return tensor


def reading(keys: Collection[str], config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what belongs into a checkpoint's digest besides its content: how it is read, for kinds where that changed.

    Nothing for plain LoRA of linear layers, which was always read as now, and for what is no adapter.
    """
    plain = all(key.endswith(_PLAIN) and _ATTENTION_OUT not in key for key in keys)
    patterns = config.get("rank_pattern") or config.get("alpha_pattern")
    same = plain and not patterns and str(config.get("init_lora_weights")).lower() not in _STARTS
    return () if same or "peft_type" not in config else ("read as PEFT merges it",)


@dataclass
class _Layer:
    """One adapted module: its name in the whole model, its name in the tower, and its keys by what they hold."""

    module: str
    name: Name
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def doubled(self) -> bool:
        """Whether it is the output projection of an adapted nn.MultiheadAttention, whose change PEFT adds twice."""
        return self.module.endswith(_ATTENTION_OUT)

    @property
    def pattern_name(self) -> str:
        """The module's name that patterns are matched with: an attention's for its output projection."""
        return self.module.removesuffix(_ATTENTION_OUT)

    @property
    def embedding(self) -> bool:
        """Whether it is an nn.Embedding, which holds W transposed."""
        return "lora_embedding_A" in self.keys or "lora_embedding_B" in self.keys

    def factors(self, source: str) -> tuple[str, str]:
        """Return the keys of A and B."""
        kinds = ("lora_embedding_A", "lora_embedding_B") if self.embedding else ("lora_A", "lora_B")
        missing = next((kind for kind in kinds if kind not in self.keys), None)
        if missing is not None:
            other = next(iter(self.keys.values()))
            raise InputError(f"{source}: expected a tensor {missing!r} of the same layer beside {other!r}, found none")
        return self.keys[kinds[0]], self.keys[kinds[1]]


def _layers(names: Mapping[str, Name], source: str) -> list[_Layer]:
    """Return the adapted modules that the factors `names` belong to."""
    layers: dict[str, _Layer] = {}
    adapters: dict[str, str] = {}
    for key, name in names.items():
        module, kind, suffix = _FACTOR.fullmatch(key).groups()  # type: ignore[union-attr]
        adapters.setdefault(suffix.removesuffix(".weight").removesuffix(".bias"), key)
        if len(adapters) > 1:
            raise InputError(
                f"{source}: expected one adapter, found several: {' and '.join(map(repr, adapters.values()))}"
            )
        inner = name.inner[: len(name.inner) - len(key) + len(module)]
        module = module.removeprefix("base_model.model.")
        layer = layers.setdefault(module, _Layer(module, replace(name, inner=inner)))
        layer.keys[kind + ".bias" * suffix.endswith(".bias")] = key
    return list(layers.values())


@dataclass(frozen=True)
class _Reader:
    """Finds where an adapter's tensors belong in the pretrained tower, and makes the steps that put them there."""

    tensors: Tensors
    settings: Settings
    pretrained: Tensors
    source: str

    def whole_place(self, key: str, name: Name) -> Place:
        """Return where a tensor that was trained as a whole lies."""
        place = self._place(_WRAPPERS.sub("", name.inner), name)
        if place is None:
            raise InputError(
                f"{self.source}: {key!r} is neither a tensor of the pretrained vision tower nor a factor of LoRA or "
                f"DoRA; merge the adapter into its model first"
            )
        return place

    def replacement(self, key: str, place: Place) -> Step:
        """Return the step that puts a tensor in the pretrained one's place."""
        value, shape = self._value(key), self._shape(place)
        if value.shape != shape:
            raise InputError(f"{self.source}: expected {key!r} with shape {tuple(shape)}, found {tuple(value.shape)}")

        def put(tensor: torch.Tensor) -> None:
            place.of(tensor).copy_(value)

        return put

    def layer_steps(self, layer: _Layer, replaced: Collection[Place]) -> Iterator[tuple[str, Step]]:
        """Yield (canonical name, step) of one adapted module."""
        keys = layer.factors(self.source)
        module = _WRAPPERS.sub("", layer.name.inner)
        weight = self._place(f"{module}.weight", layer.name)
        if weight is None:
            raise InputError(
                f"{self.source}: {keys[0]!r} adapts a layer that the pretrained vision tower does not have"
            )
        attention = weight.name.endswith("in_proj_weight") and not layer.name.hugging
        self._refuse(layer, keys[0], attention or layer.doubled)
        place = replace(weight, transposed=not weight.transposed) if layer.embedding else weight
        down, up = map(self._value, keys)
        shape = self._shape(place)
        self._check_factors(shape, down, up, keys[0])
        scaling = self.settings.scaling(layer.pattern_name, len(down), self.source)
        start = "" if weight in replaced else self.settings.start  # a W in the file is already without that part
        if start and (layer.embedding or len(shape) > 2):
            raise InputError(
                f"{self.source}: expected only linear layers with init_lora_weights {start!r}, found {keys[0]!r}"
            )
        magnitude = self._magnitude(layer, shape)
        yield weight.name, _Update(place, down, up, (2 if layer.doubled else 1) * scaling, start, magnitude)
        if "lora_B.bias" in layer.keys:
            yield self._bias_step(layer.keys["lora_B.bias"], self._place(f"{module}.bias", layer.name), scaling)

    def _place(self, tensor: str, name: Name) -> Place | None:
        """Return where the tower's tensor `tensor` lies among the canonical ones, None where there is none."""
        if name.hugging:
            place = hugging_face.place(tensor)
        else:
            # The weight of an nn.MultiheadAttention is its joint projection, a parameter and not a module.
            stem, _, kind = tensor.rpartition(".")
            joint = f"visual.{stem}.in_proj_{kind}"
            place = Place(joint if joint in self.pretrained else f"visual.{tensor}")
        return place if place is not None and place.name in self.pretrained else None

    def _shape(self, place: Place) -> torch.Size:
        return place.of(outline(self.pretrained, place.name)).shape

    def _value(self, key: str) -> torch.Tensor:
        value = self.tensors[key]
        if not value.is_floating_point() or not torch.isfinite(value.float()).all():
            raise InputError(f"{self.source}: expected finite numbers in {key!r}, found others")
        return value

    def _refuse(self, layer: _Layer, key: str, attention: bool) -> None:
        """Refuse what PEFT has no weights for, too."""
        unknown = next((found for kind, found in layer.keys.items() if kind not in _KINDS), None)
        if unknown is not None:
            raise InputError(f"{self.source}: expected a factor of LoRA or DoRA, found {unknown!r}")
        if attention and (self.settings.fan_in_fan_out or "lora_B.bias" in layer.keys):
            raise InputError(
                f"{self.source}: expected neither 'fan_in_fan_out' nor 'lora_bias' where an nn.MultiheadAttention is "
                f"adapted, as at {key!r}: PEFT does not merge it as it was trained"
            )

    def _check_factors(self, shape: torch.Size, down: torch.Tensor, up: torch.Tensor, key: str) -> None:
        rank, ones = down.shape[:1], [1] * (len(shape) - 2)
        if [*down.shape] != [*rank, *shape[1:]] or [*up.shape] != [shape[0], *rank, *ones]:
            raise InputError(
                f"{self.source}: {key!r}: B A must have shape {tuple(shape)}, found B {tuple(up.shape)}, "
                f"A {tuple(down.shape)}: the adapter is of another tower"
            )

    def _magnitude(self, layer: _Layer, shape: torch.Size) -> torch.Tensor | None:
        key = layer.keys.get("lora_magnitude_vector")
        if (key is None) == self.settings.dora:
            raise InputError(
                f"{self.source}: expected a 'lora_magnitude_vector' where 'use_dora' is true and only there, found "
                f"{'none' if key is None else repr(key)} in {layer.module!r}"
            )
        magnitude = None if key is None else self._value(key)
        if magnitude is not None and magnitude.numel() != shape[0]:
            raise InputError(f"{self.source}: expected {shape[0]} values in {key!r}, found {magnitude.numel()}")
        return magnitude

    def _bias_step(self, key: str, place: Place | None, scaling: float) -> tuple[str, Step]:
        value = self._value(key)
        if place is None or self._shape(place) != value.shape:
            raise InputError(f"{self.source}: {key!r} matches no bias of the pretrained vision tower")

        def add(tensor: torch.Tensor) -> None:
            place.of(tensor).add_(value.float(), alpha=scaling)

        return place.name, add


@dataclass
class _Update:
    """W + scaling · B A in one layer of a canonical tensor, and what PEFT does with W before and after."""

    place: Place
    down: torch.Tensor
    up: torch.Tensor
    scaling: float
    start: str
    magnitude: torch.Tensor | None
    _moved: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, tensor: torch.Tensor) -> None:
        layer = self.place.of(tensor)
        if self.start:
            # Decomposing takes long, and the pretrained layer stays the same: its two factors are kept.
            self._moved = self._moved or _STARTS[self.start](layer, len(self.down), self.scaling)
            layer -= self._moved[0] @ self._moved[1]
        layer += self.scaling * (self.up.float().flatten(1) @ self.down.float().flatten(1)).reshape(layer.shape)
        if self.magnitude is not None:
            lengths = torch.linalg.vector_norm(layer.flatten(1), dim=1)
            layer *= (self.magnitude.float().flatten() / lengths).reshape(-1, *[1] * (layer.ndim - 1))


def _principal(layer: torch.Tensor, rank: int, _: float) -> tuple[torch.Tensor, torch.Tensor]:
    left, values, right = torch.linalg.svd(layer, full_matrices=False)
    return left[:, :rank] * values[:rank], right[:rank].clone()


def _orthonormal(layer: torch.Tensor, rank: int, scaling: float) -> tuple[torch.Tensor, torch.Tensor]:
    q, r = torch.linalg.qr(layer)
    return scaling * q[:, :rank], r[:rank].clone()


_STARTS = {"pissa": _principal, "olora": _orthonormal}


def _remarks(layers: Sequence[_Layer], settings: Settings, source: str) -> list[str]:
    remarks = []
    if any(layer.doubled for layer in layers):
        remarks.append(
            f"{source}: where an nn.MultiheadAttention is adapted, PEFT adds the change of its out_proj twice, in "
            f"training as in merging; it was read that way."
        )
        if settings.biases == "all":
            remarks.append(
                f"{source}: PEFT trains an nn.MultiheadAttention's in_proj_bias with bias 'all', but does not save it; "
                f"the pretrained one was read."
            )
    if settings.library.startswith("transformers.") and "CLIP" not in settings.model:
        remarks.append(
            f"{source}: adapter_config.json says that the adapter was made for {settings.model}, which is not a CLIP; "
            f"it was read as one of CLIP's vision tower, which its layers fit."
        )
    return remarks
