"""Writes a suite's folder: weights, heads, images, class names and the suite file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
from safetensors.torch import save_file
from torch import Tensor

from ri_analysis.demo.sources import Labelled
from ri_analysis.demo.tasks import TaskData
from ri_analysis.files import atomic_path, write_text


@dataclass(frozen=True)
class SuiteContent:
    """What one suite folder holds.

    Attributes:
        pretrained: path of the pretrained checkpoint relative to the suite file.
        architecture: path of the model configuration, relative too.
        experts, heads: by task name.
        auxiliary: name → images, or a path to those of another suite.
        unseen: name → (tasks, images).
    """

    name: str
    architecture: str
    pretrained: str
    tasks: Sequence[TaskData]
    experts: Mapping[str, open_clip.CLIP]
    heads: Mapping[str, Tensor]
    auxiliary: Mapping[str, np.ndarray | str]
    unseen: Mapping[str, tuple[tuple[str, ...], Labelled]] = field(default_factory=dict)


GENERATED = (("noise", 7, 2048), ("shapes", 7, 2048))


def round_weights(model: open_clip.CLIP) -> open_clip.CLIP:
    """The model with every weight rounded to what half precision can hold, still in single precision."""
    for value in model.state_dict().values():
        value.copy_(value.half().float())
    return model


def save_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Half-precision safetensors, whole or not at all."""
    with atomic_path(path) as temporary:
        save_file({name: tensor.detach().half().contiguous() for name, tensor in tensors.items()}, temporary)


def vision_weights(model: open_clip.CLIP) -> dict[str, Tensor]:
    """The vision tower's tensors under open_clip's names."""
    return {name: value for name, value in model.state_dict().items() if name.startswith("visual.")}


def write_model(folder: Path, model: open_clip.CLIP, config: Mapping[str, Any]) -> None:
    """`model.json` and `pretrained.safetensors`, both towers."""
    write_text(folder / "model.json", json.dumps(config, indent=2) + "\n")
    save_weights(folder / "pretrained.safetensors", model.state_dict())


def write_images(path: Path, images: np.ndarray, labels: np.ndarray | None = None, dense: bool = False) -> None:
    """A compressed npz of images, with labels where there are any; equal images give equal bytes.

    `dense` packs a quarter smaller and reads several times slower: for what is seldom opened.
    """
    arrays = {"images": images} if labels is None else {"images": images, "labels": labels.astype(np.int64)}
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")  # its date is a constant
            entry.compress_type = zipfile.ZIP_LZMA if dense else zipfile.ZIP_DEFLATED
            with archive.open(entry, "w") as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def write_suite(folder: Path, content: SuiteContent) -> None:
    """Everything of the suite but the model; the suite file comes last, so that it never names a missing file."""
    sections = [
        _entry({"name": content.name}),
        _entry({"architecture": content.architecture, "pretrained": content.pretrained}, "[model]"),
    ]
    for task in content.tasks:
        name = task.name
        save_weights(folder / f"experts/{name}.safetensors", vision_weights(content.experts[name]))
        with atomic_path(folder / f"heads/{name}.safetensors") as temporary:
            save_file({"weight": content.heads[name].contiguous()}, temporary)
        write_text(folder / f"classes/{name}.txt", "\n".join(task.classes) + "\n")
        write_images(folder / f"data/{name}.npz", task.test.images, task.test.labels)
        write_images(folder / f"data/{name}-validation.npz", task.validation.images, task.validation.labels)
        sections.append(
            _entry(
                {
                    "name": name,
                    "expert": f"experts/{name}.safetensors",
                    "head": f"heads/{name}.safetensors",
                    "classes": f"classes/{name}.txt",
                    "templates": list(task.templates),
                    "data": f"data/{name}.npz",
                    "validation": f"data/{name}-validation.npz",
                },
                "[[task]]",
            )
        )
    for name, images in content.auxiliary.items():
        path = images if isinstance(images, str) else f"auxiliary/{name}.npz"
        if not isinstance(images, str):
            write_images(folder / path, images, dense=True)
        sections.append(
            _entry({"name": name, "data": path, **({"oracle": True} if name == "oracle" else {})}, "[[auxiliary]]")
        )
    for name, seed, count in GENERATED:
        sections.append(_entry({"name": name, "generator": name, "seed": seed, "count": count}, "[[auxiliary]]"))
    for name, (tasks, data) in content.unseen.items():
        write_images(folder / f"unseen/{name}.npz", data.images, data.labels, dense=True)
        sections.append(_entry({"name": name, "tasks": list(tasks), "data": f"unseen/{name}.npz"}, "[[unseen]]"))
    write_text(folder / "suite.toml", "\n".join(sections))


def declare_resolved(folder: Path, name: str) -> None:
    """Adds the RI-adapted experts in `folder/resolved/name` to the suite file, once, as its default set."""
    path = folder / "suite.toml"
    text = path.read_text(encoding="utf-8")
    entry = _entry({"name": name, "directory": f"resolved/{name}", "default": True}, "[[resolved]]")
    if entry not in text:
        write_text(path, f"{text}\n{entry}")


def _entry(values: Mapping[str, Any], title: str = "") -> str:
    # JSON's texts, numbers, booleans and lists are TOML's too.
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join([title, *lines] if title else lines) + "\n"
