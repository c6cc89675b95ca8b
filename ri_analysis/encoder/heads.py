"""h_t: frozen classifiers on the tower's features, read from a file or built from class names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import open_clip
import torch

from ri_analysis.checkpoints import Checkpoint, read_checkpoint, whole_model, write_safetensors
from ri_analysis.encoder.architecture import Architecture
from ri_analysis.errors import InputError
from ri_analysis.suite import Suite
from ri_analysis.suite.images import classes_of

# A pickled ImageEncoder keeps the text projection but not the transformer before it.
_TEXT_MARKERS = ("transformer.resblocks.0.ln_1.weight",)
_SCRIPT_CONSTANTS = ("input_resolution", "context_length", "vocab_size")  # in OpenAI's own archives


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
    width = int(architecture.config["embed_dim"])
    text_tower: TextTower | None = None
    heads = {}
    for task in map(suite.task, tasks or suite.tasks):
        names = suite.class_names(task.name)
        if task.head is not None:
            heads[task.name] = load_head(task.head, names, width, task.logit_scale)
        else:
            text_tower = text_tower or TextTower(architecture, suite.pretrained)
            heads[task.name] = build_head(text_tower, names or _own_names(suite, task.name), task.templates)
        _check_labels(suite, task.name, heads[task.name])
    return heads


def load_head(path: Path, classes: Sequence[str] | None, width: int, logit_scale: float = 1.0) -> Head:
    """Read a head: a pickled `ClassificationHead`, or a tensor `weight` (classes, width), or that tensor alone.

    `logit_scale` multiplies weights that were saved without theirs. Raises InputError for another shape, a bias that
    is not zero, a head made for features that are not normalised, and class names of another number.
    """
    checkpoint = read_checkpoint(path)
    tensors = checkpoint.tensors
    if checkpoint.attributes.get("normalize") is False:
        raise InputError(f"{path}: expected a head for unit features, found one with normalize = False")
    weight = next((tensors[key] for key in tensors if key.rpartition(".")[2] == "weight"), None)
    if weight is None and len(tensors) == 1:
        weight = tensors[next(iter(tensors))]
    if weight is None:
        raise InputError(f"{path}: expected a tensor 'weight', found {', '.join(tensors) or 'no tensors'}")
    if weight.ndim != 2 or weight.shape[1] != width:
        raise InputError(f"{path}: 'weight' must have shape (classes, {width}), found {tuple(weight.shape)}")
    if not torch.isfinite(weight).all():
        raise InputError(f"{path}: 'weight' must be finite, found NaN or infinite values")
    if any(key.rpartition(".")[2] == "bias" and bool(tensors[key].any()) for key in tensors):
        raise InputError(f"{path}: expected a head without bias, found a 'bias' that is not zero")
    if classes is None:
        classes = [f"class {index}" for index in range(len(weight))]
    if len(classes) != len(weight):
        raise InputError(f"{path}: the head has {len(weight)} classes, the class names are {len(classes)}")
    return Head((weight.float() * logit_scale).contiguous(), tuple(classes))


def save_head(path: Path, head: Head) -> None:
    """Write a head as safetensors, one tensor `weight`."""
    layout = {"weight": (tuple(head.weight.shape), head.weight.dtype)}
    write_safetensors(path, layout, [("weight", head.weight)], {})


class TextTower:
    """The pretrained CLIP's text side, for building heads."""

    def __init__(self, architecture: Architecture, pretrained: Checkpoint) -> None:
        self._model = architecture.build().float()
        self._tokenizer = open_clip.SimpleTokenizer(context_length=architecture.context_length)
        tensors = whole_model(pretrained)
        if not any(key.removeprefix("text.") in _TEXT_MARKERS for key in tensors):
            raise InputError(
                f"{pretrained.path}: expected a whole CLIP to build heads from class names, found no text tower; "
                f"give each task a head file instead"
            )
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
    rows = [tower.embed([template.format(name) for template in templates]).mean(dim=0) for name in classes]
    weight = torch.nn.functional.normalize(torch.stack(rows), dim=-1) * tower.logit_scale
    return Head(weight.clone(), tuple(classes))


def _own_names(suite: Suite, task: str) -> tuple[str, ...]:
    """Return the class names that the task's data gives, as words."""
    found = classes_of(suite.task_data(task))
    if not found:
        raise InputError(
            f"{suite.spec.path}: [[task]] ({task}): expected 'classes' to build a head from, found none, and none in "
            f"{suite.task(task).data}"
        )
    return tuple(name.replace("_", " ") for name in found)


def _check_labels(suite: Suite, task: str, head: Head) -> None:
    for split in ("test", "validation"):
        if split == "validation" and suite.task(task).validation is None:
            continue
        images = suite.task_data(task, split)
        assert images.labels is not None  # task data is always read with labels
        found = int(images.labels.max()) + 1
        if found > len(head.classes):
            raise InputError(
                f"{images.source}: labels go up to class {found - 1}, so at least {found} classes, "
                f"but the head of task {task!r} has {len(head.classes)}"
            )
