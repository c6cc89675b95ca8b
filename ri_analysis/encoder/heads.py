"""h_t: frozen classifiers on the tower's features, read from a file or built from class names."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import open_clip
import torch

from ri_analysis import limits
from ri_analysis.caches import seal, sealed
from ri_analysis.checkpoints import (
    Checkpoint,
    classifier_weight,
    read_checkpoint,
    whole_model,
    write_safetensors,
)
from ri_analysis.encoder.architecture import Architecture
from ri_analysis.errors import InputError
from ri_analysis.files import digest
from ri_analysis.suite import Suite
from ri_analysis.task_vectors import FLOATS

# A pickled ImageEncoder keeps the text projection but not the transformer before it.
_TEXT_MARKERS = ("transformer.resblocks.0.ln_1.weight",)
_SCRIPT_CONSTANTS = ("input_resolution", "context_length", "vocab_size")  # in OpenAI's own archives
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # terminals act on them, and lines break


@dataclass(frozen=True)
class Head:
    """A linear classifier: `weight` (classes, embed_dim) on unit features, `classes` its class names."""

    weight: torch.Tensor
    classes: tuple[str, ...]

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Return the logits (n, classes) of unit features (n, embed_dim)."""
        return features @ self.weight.to(features.device).T

    @property
    def scale(self) -> float | None:
        """The logit scale the weights carry: their rows' common length; None where the lengths differ."""
        lengths = self.weight.norm(dim=1)
        low, high = lengths.min().item(), lengths.max().item()
        return (low + high) / 2 if high - low <= 0.01 * high else None


def load_heads(suite: Suite, architecture: Architecture, tasks: Sequence[str] | None = None) -> dict[str, Head]:
    """Return the heads of `tasks`, all by default.

    Raises InputError when one does not fit the tower, its class names or its data.
    """
    loader = HeadLoader(suite, architecture)
    return {task: loader.load(task) for task in tasks or suite.tasks}


class HeadLoader:
    """Reads a suite's heads, or builds them; the text tower is opened once, and only when a head is built."""

    def __init__(self, suite: Suite, architecture: Architecture) -> None:
        self._suite, self._architecture = suite, architecture

    def load(self, name: str) -> Head:
        """Return the head of a task. Raises InputError when it does not fit the tower, its class names or its data."""
        task, names = self._suite.task(name), self._suite.class_names(name)
        if task.head is not None:
            with self._suite.files.noting():
                head = load_head(task.head, names, self._width, task.logit_scale)
        else:
            head = self._built(names or _own_names(self._suite, name), task.templates)
        for strange in filter(_CONTROL.search, head.classes):
            raise InputError(f"{name}: expected class names of letters and signs, found {strange[:80]!r}")
        _check_labels(self._suite, name)
        return head

    @property
    def _width(self) -> int:
        return int(self._architecture.config["embed_dim"])

    @cached_property
    def _text_tower(self) -> TextTower:
        return TextTower(self._architecture, self._suite.pretrained)

    def _built(self, classes: Sequence[str], templates: Sequence[str]) -> Head:
        """Return the head of some class names, from the workspace where it was built before."""
        folder, pretrained = self._suite.memory("heads"), self._suite.pretrained.digest
        if folder is None:
            return build_head(self._text_tower, classes, templates)
        name = digest(pretrained, self._architecture.fingerprint, json.dumps([list(classes), list(templates)]))
        path = folder / f"{name}.safetensors"
        if not sealed(path, name):
            built = build_head(self._text_tower, classes, templates)
            self._suite.files.check()
            try:
                save_head(path, built)
            except OSError:  # a full or read-only disk: build it every time
                return built
            seal(path, name)
        return load_head(path, classes, self._width)


def load_head(path: Path, classes: Sequence[str] | None, width: int, logit_scale: float = 1.0) -> Head:
    """Read a head: a pickled `ClassificationHead`, or a tensor `weight` (classes, width), or that tensor alone.

    `logit_scale` multiplies weights that were saved without theirs. Raises InputError for another shape, a bias that
    is not zero, a head made for features that are not normalised, and class names of another number.
    """
    checkpoint = read_checkpoint(path)
    tensors = checkpoint.tensors
    if checkpoint.attributes.get("normalize") is False:
        raise InputError(f"{path}: expected a head for unit features, found one with normalize = False")
    weight = classifier_weight(checkpoint)
    if weight.shape[1] != width:
        raise InputError(f"{path}: 'weight' must have shape (classes, {width}), found {tuple(weight.shape)}")
    for key, tensor in tensors.items():
        if tensor.dtype not in FLOATS:
            raise InputError(f"{path}: {key!r} must be float16, bfloat16, float32 or float64, found {tensor.dtype}")
    scaled = (weight.float() * logit_scale).contiguous()
    if not torch.isfinite(scaled).all():
        times = "" if logit_scale == 1 else f" times logit_scale {logit_scale:g}"
        raise InputError(f"{path}: 'weight'{times} must be finite in float32, found NaN or infinite values")
    if weight.any() and not scaled.any():
        raise InputError(f"{path}: 'weight' times logit_scale {logit_scale:g} must not vanish in float32")
    if any(bool(tensors[key].any()) for key in tensors if _last(key) == "bias"):
        raise InputError(f"{path}: expected a head without bias, found a 'bias' that is not zero")
    if classes is None:
        classes = [f"class {index}" for index in range(len(weight))]
    if len(classes) != len(weight):
        raise InputError(f"{path}: the head has {len(weight)} classes, the class names are {len(classes)}")
    return Head(scaled, tuple(classes))


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def save_head(path: Path, head: Head) -> None:
    """Write a head as safetensors, one tensor `weight`."""
    layout = {"weight": (tuple(head.weight.shape), head.weight.dtype)}
    write_safetensors(path, layout, [("weight", head.weight)], {})


class TextTower:
    """The pretrained CLIP's text side, for building heads."""

    def __init__(self, architecture: Architecture, pretrained: Checkpoint) -> None:
        tensors = whole_model(pretrained)
        if not any(key.removeprefix("text.") in _TEXT_MARKERS for key in tensors):
            raise InputError(
                f"{pretrained.path}: expected a whole CLIP to build heads from class names, found no text tower; "
                f"give each task a head file instead"
            )
        self._model = architecture.build().float()
        self._tokenizer = open_clip.SimpleTokenizer(context_length=architecture.context_length)
        state = {key: tensors[key].float() for key in tensors if key not in _SCRIPT_CONSTANTS}
        try:
            self._model.load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise InputError(f"{pretrained.path}: does not fit {architecture.name}: {error}") from error

    @torch.inference_mode()
    def embed(self, captions: Sequence[str]) -> torch.Tensor:
        """Return the unit text embeddings (n, embed_dim) of `captions`."""
        tokens = self._tokenizer(list(captions))
        return torch.nn.functional.normalize(self._model.encode_text(tokens), dim=-1)  # type: ignore[operator]

    @property
    def logit_scale(self) -> float:
        """exp of the learnt logit scale."""
        return float(self._model.logit_scale.exp())  # type: ignore[operator]


def build_head(tower: TextTower, classes: Sequence[str], templates: Sequence[str]) -> Head:
    """Return the zero-shot head: per class the normalised mean embedding over the templates × logit scale.

    Radford et al. 2021 (arXiv 2103.00020), section 3.1.4.
    """
    limits.require("head-texts", len(classes) * len(templates), "classes and templates")
    rows = [tower.embed([template.replace("{}", name) for template in templates]).mean(dim=0) for name in classes]
    weight = torch.nn.functional.normalize(torch.stack(rows), dim=-1) * tower.logit_scale
    return Head(weight.clone(), tuple(classes))


def _own_names(suite: Suite, task: str) -> tuple[str, ...]:
    """Return the class names that the task's data gives, as words."""
    found = suite.task_data(task).classes
    if not found:
        raise InputError(
            f"{suite.spec.path}: [[task]] ({task}): expected 'classes' to build a head from, found none, and none in "
            f"{suite.task(task).data}"
        )
    return tuple(name.replace("_", " ") for name in found)


def _check_labels(suite: Suite, task: str) -> None:
    """Open a task's images: what labels do not fit its head is refused there, before anything is measured."""
    suite.task_data(task)
    if suite.task(task).validation is not None:
        suite.task_data(task, "validation")
