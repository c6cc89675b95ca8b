"""An open_clip model config, by name or from a JSON file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import open_clip
import torch

from ri_analysis import limits
from ri_analysis.documents import read_json
from ri_analysis.encoder.last_block import spare_patches
from ri_analysis.encoder.sizes import require_sizes
from ri_analysis.encoder.training_block import multiply_once
from ri_analysis.errors import InputError, one_message
from ri_analysis.hyperparameters import suggest
from ri_analysis.suite import Suite
from ri_analysis.suite.preprocessing import preprocessing_config

_EXPECTED = "an open_clip model config"
LARGE = 16 << 20  # parameters of a tower; a smaller one is quick in float32
# The smallest text side that open_clip builds, where only the vision tower is wanted.
_LEAST_TEXT = {"context_length": 1, "vocab_size": 1, "width": 1, "heads": 1, "layers": 1}


@dataclass(frozen=True, eq=False)
class Architecture:
    """An open_clip architecture: its config, image size and the preprocessing's mean and standard deviation.

    Two are equal that have the same fingerprint.
    """

    name: str
    config: dict[str, Any]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def build(self) -> torch.nn.Module:
        """Return the whole CLIP, randomly initialised; `.visual` is the vision tower."""
        custom = self.config.get("custom_text", False) or "hf_model_name" in self.config.get("text_cfg", {})
        return self._build(open_clip.CustomTextCLIP if custom else open_clip.CLIP, self.config)

    def build_tower(self) -> torch.nn.Module:
        """Return the vision tower alone, float32, for weights to be loaded into. Needs nothing the text side needs."""
        bare = _bare_tower(self)
        if any(True for _ in _transient(bare)):  # their values come from building
            tower = self._tower().float()
        else:
            tower = deepcopy(bare).float().to_empty(device="cpu")
            for tensor in tower.state_dict().values():
                tensor.zero_()
        spare_patches(tower)
        if self.large:  # smaller ones stay as they were, to the bit
            multiply_once(tower)
        return tower

    def tower_shapes(self) -> dict[str, torch.Size]:
        """Return the shape of each tensor of the vision tower's state dict, without the tower's memory."""
        return {name: tensor.shape for name, tensor in _bare_tower(self).state_dict().items()}

    @property
    def large(self) -> bool:
        """Whether the vision tower has at least LARGE parameters."""
        return self._size >= LARGE

    @cached_property
    def _size(self) -> int:
        return sum(shape.numel() for shape in self.tower_shapes().values())

    def _tower(self) -> torch.nn.Module:
        return self._build(open_clip.CLIP, self.config | {"text_cfg": _LEAST_TEXT}).get_submodule("visual")

    def _build(self, kind: type[torch.nn.Module], config: dict[str, Any]) -> torch.nn.Module:
        config = deepcopy(config)
        config.pop("custom_text", None)
        if "timm_model_name" in config["vision_cfg"]:
            config["vision_cfg"]["timm_model_pretrained"] = False  # the weights come from the checkpoint
        try:
            return kind(**config).eval().requires_grad_(False)
        except (TypeError, RuntimeError, ValueError, AssertionError) as error:
            raise InputError(f"{self.name}: expected an open_clip model config, found: {error}") from error

    def require_parameters(self) -> None:
        """Raise InputError for a config that makes no tower, or a larger one than is read. Takes no tower's memory."""
        limits.require("model-parameters", sum(shape.numel() for shape in self.tower_shapes().values()), self.name)

    @cached_property
    def fingerprint(self) -> str:
        """All that decides what the tower makes of weights and images, as text; the name is no part of it."""
        return json.dumps([self.config, self.image_size, self.mean, self.std], sort_keys=True)

    @property
    def depth(self) -> int:
        """How many transformer blocks the vision tower has, where the config says it; else 0."""
        layers = self.config["vision_cfg"].get("layers", 12)  # open_clip's default
        named = self.config["vision_cfg"].get("timm_model_name")
        return layers if isinstance(layers, int) and not named else 0

    @property
    def quick_gelu(self) -> bool:
        """Whether the activation is OpenAI's quick-GELU."""
        return bool(self.config.get("quick_gelu", False))

    @property
    def context_length(self) -> int:
        """Tokens a caption may have."""
        return int(self.config.get("text_cfg", {}).get("context_length", 77))


@lru_cache(maxsize=16)
def _bare_tower(architecture: Architecture) -> torch.nn.Module:
    """Return the vision tower with shapes only. Raises InputError when it takes images of another size."""
    size = architecture.image_size
    with torch.device("meta"):
        tower = architecture._tower()
        try:
            tower(torch.empty(1, 3, size, size))
        except NotImplementedError:  # shapes can't be followed through every operation
            return tower
        except (AssertionError, RuntimeError, ValueError, TypeError) as error:
            raise InputError(f"{architecture.name}: 'image_size' {size} does not fit the tower: {error}") from error
    return tower


def _transient(tower: torch.nn.Module) -> Iterator[str]:
    """Yield the buffers that a state dict does not hold."""
    kept = tower.state_dict()
    return (name for name, _ in tower.named_buffers() if name not in kept)


def architecture_of(suite: Suite) -> Architecture:
    """Return a suite's architecture, with the preprocessing of its pretrained tag if it has one."""
    with suite.files.noting():
        return read_architecture(suite.spec.architecture, suite.spec.path.parent, suite.spec.pretrained)


def read_architecture(name: str, folder: Path, pretrained: str = "") -> Architecture:
    """Return the architecture called `name` by open_clip, or described by the JSON file `name` relative to `folder`.

    The JSON is open_clip's model config, bare or under `model_cfg` beside a `preprocess_cfg`; for a name, the mean and
    standard deviation are those of the tag `pretrained`, CLIP's own for files. Raises InputError.
    """
    if not name.endswith(".json"):
        config = open_clip.get_model_config(name)
        if config is None:
            raise InputError(f"unknown architecture {name!r}; {suggest(name, open_clip.list_models())[:300]}")
        return _architecture(name, config, preprocessing_config(name, pretrained, folder))
    path = folder / name
    document = read_json(path, _EXPECTED)
    config = document.get("model_cfg", document) if isinstance(document, dict) else {}
    if not isinstance(config, dict) or not isinstance(config.get("vision_cfg"), dict) or "embed_dim" not in config:
        raise InputError(f"{path}: expected an open_clip model config with 'embed_dim' and 'vision_cfg'")
    preprocess = document.get("preprocess_cfg", {})
    with one_message(path, _EXPECTED):
        require_sizes(config, str(path))
        found = _architecture(str(path), config, preprocess)
        found.require_parameters()
        return found


def _architecture(name: str, config: dict[str, Any], preprocess: Mapping[str, Any]) -> Architecture:
    size = config["vision_cfg"].get("image_size", 224)
    size = size[0] if isinstance(size, list | tuple) else size
    mean = preprocess.get("mean") or open_clip.OPENAI_DATASET_MEAN
    std = preprocess.get("std") or open_clip.OPENAI_DATASET_STD
    if not isinstance(size, int) or size < 1:
        raise InputError(f"{name}: expected 'image_size' to be a whole number above 0, found {size!r}")
    return Architecture(name, config, size, _colours(mean, name, "mean"), _colours(std, name, "std"))


def _colours(values: object, name: str, key: str) -> tuple[float, ...]:
    """Return a number for each channel. Raises InputError for others, and for a standard deviation of zero."""
    numbers = [values] * 3 if isinstance(values, int | float) else values
    least = 0.0 if key == "mean" else 1e-6
    if not isinstance(numbers, list | tuple) or len(numbers) != 3 or not all(_is_share(v, least) for v in numbers):
        raise InputError(f"{name}: expected {key!r} to be three numbers from {least:g} to 1, found {numbers!r}")
    return tuple(numbers)


def _is_share(value: object, least: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= 1
