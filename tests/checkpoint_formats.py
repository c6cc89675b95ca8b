"""The same weights saved in every format people have, with the true key names."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import lru_cache
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file
from tiny import MODEL

Tensors = dict[str, torch.Tensor]


@lru_cache
def _template(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    config = MODEL["model_cfg"] | {"text_cfg": MODEL["model_cfg"]["text_cfg"] | {"vocab_size": 50}}
    return open_clip.CLIP(**config, quick_gelu=True).eval()


def model(seed: int = 0) -> torch.nn.Module:
    """A tiny CLIP with open_clip's own classes."""
    return deepcopy(_template(seed))


def vision(clip: torch.nn.Module) -> Tensors:
    """The canonical tensors of a CLIP's vision tower."""
    return {key: value.clone() for key, value in clip.state_dict().items() if key.startswith("visual.")}


@contextmanager
def foreign(*classes: type) -> Iterator[None]:
    """Let `classes` be pickled as members of `src.modeling`, a module that is gone afterwards."""
    names = ("src", "src.modeling")
    for name in names:
        sys.modules[name] = types.ModuleType(name)
    for item in classes:
        item.__module__, item.__qualname__ = "src.modeling", item.__name__
        setattr(sys.modules["src.modeling"], item.__name__, item)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


class ImageEncoder(torch.nn.Module):
    """As task_vectors' one: the CLIP without its text transformer, and the transforms beside it."""

    def __init__(self, clip: torch.nn.Module) -> None:
        super().__init__()
        self.model = clip
        self.train_preprocess = self.val_preprocess = open_clip.image_transform(8, is_train=False)
        self.cache_dir = "/somewhere"
        del self.model.transformer


class ClassificationHead(torch.nn.Linear):
    """As task_vectors' one."""

    def __init__(self, normalize: bool, weights: torch.Tensor) -> None:
        super().__init__(weights.shape[1], weights.shape[0])
        self.normalize = normalize
        self.weight = torch.nn.Parameter(weights.clone())
        self.bias = torch.nn.Parameter(torch.zeros_like(self.bias))


def pickled_encoder(path: Path, clip: torch.nn.Module) -> Path:
    with foreign(ImageEncoder):
        torch.save(ImageEncoder(clip), path)
    return path


def pickled_head(path: Path, weights: torch.Tensor, normalize: bool = True) -> Path:
    with foreign(ClassificationHead):
        torch.save(ClassificationHead(normalize, weights), path)
    return path


def old_pickled_encoder(path: Path, clip: torch.nn.Module) -> Path:
    with foreign(ImageEncoder):
        torch.save(ImageEncoder(clip), path, _use_new_zipfile_serialization=False)
    return path


def hugging_face(tensors: Tensors, prefix: str = "vision_model.", projection: bool = True) -> Tensors:
    """Rename canonical tensors to transformers' names, splitting q, k and v."""
    renamed: Tensors = {}
    for key, value in tensors.items():
        name = key.removeprefix("visual.")
        if name == "proj":
            if projection:
                renamed["visual_projection.weight"] = value.T.contiguous()
            continue
        if ".attn.in_proj_" in name:
            block, kind = name.split(".")[2], name.rpartition("_")[2]
            for part, rows in zip("qkv", value.chunk(3), strict=True):
                renamed[f"{prefix}encoder.layers.{block}.self_attn.{part}_proj.{kind}"] = rows.contiguous()
            continue
        for old, new in (
            ("class_embedding", "embeddings.class_embedding"),
            ("positional_embedding", "embeddings.position_embedding.weight"),
            ("conv1.weight", "embeddings.patch_embedding.weight"),
            ("ln_pre", "pre_layrnorm"),
            ("ln_post", "post_layernorm"),
            ("transformer.resblocks", "encoder.layers"),
            ("ln_1", "layer_norm1"),
            ("ln_2", "layer_norm2"),
            ("attn.out_proj", "self_attn.out_proj"),
            ("mlp.c_fc", "mlp.fc1"),
            ("mlp.c_proj", "mlp.fc2"),
        ):
            name = name.replace(old, new)
        renamed[prefix + name] = value
    renamed[prefix + "embeddings.position_ids"] = torch.arange(5)[None]
    return renamed


def hugging_face_folder(folder: Path, tensors: Tensors, kind: str, *, act: str = "gelu") -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architectures": [kind], "hidden_act": act}))
    save_file(tensors, folder / "model.safetensors")
    return folder


def sharded_folder(folder: Path, tensors: Tensors, suffix: str = "safetensors") -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architectures": ["CLIPVisionModelWithProjection"]}))
    names = list(tensors)
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    weight_map = {}
    for number, keys in enumerate((names[::2], names[1::2]), 1):
        file = f"{stem}-0000{number}-of-00002.{suffix}"
        part = {key: tensors[key] for key in keys}
        save_file(part, folder / file) if suffix == "safetensors" else torch.save(part, folder / file)
        weight_map |= dict.fromkeys(keys, file)
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def full_hugging_face(clip: torch.nn.Module) -> Tensors:
    """A whole CLIPModel's tensors, text tower included."""
    state = clip.state_dict()
    text = {f"visual.{k}": v for k, v in state.items() if not k.startswith("visual.") and "." in k}
    renamed = hugging_face(text, "text_model.", projection=False)
    renamed.pop("text_model.embeddings.position_ids")
    tensors = {
        key.replace("token_embedding", "embeddings.token_embedding").replace("ln_final", "final_layer_norm"): value
        for key, value in renamed.items()
    }
    tensors["text_model.embeddings.position_embedding.weight"] = state["positional_embedding"]
    tensors["text_projection.weight"] = state["text_projection"].T.contiguous()
    tensors["logit_scale"] = state["logit_scale"]
    return tensors | hugging_face(vision(clip))


def _saved(write: Callable[[Path], object], path: Path) -> Path:
    write(path)
    return path


# name → what writes a CLIP's weights to a path below the folder it is given
FULL_FORMATS: dict[str, Callable[[Path, torch.nn.Module], Path]] = {
    "safetensors, whole CLIP": lambda folder, clip: _saved(
        lambda path: save_file({k: v.contiguous() for k, v in clip.state_dict().items()}, path),
        folder / "whole.safetensors",
    ),
    "safetensors, vision tower": lambda folder, clip: _saved(
        lambda path: save_file(vision(clip), path), folder / "tower.safetensors"
    ),
    "torch, tower without prefix": lambda folder, clip: _saved(
        lambda path: torch.save(clip.visual.state_dict(), path), folder / "tower.pt"
    ),
    "torch, model.visual.": lambda folder, clip: _saved(
        lambda path: torch.save({f"model.{k}": v for k, v in clip.state_dict().items()}, path),
        folder / "nonlinear_finetuned.pt",
    ),
    "torch, training extras": lambda folder, clip: _saved(
        lambda path: torch.save(
            {
                "epoch": 3,
                "model_name": "ViT-B-32",
                "state_dict": {f"module.{k}": v for k, v in clip.state_dict().items()},
                "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-5}]},
            },
            path,
        ),
        folder / "epoch_3.pt",
    ),
    "torch, before 1.6": lambda folder, clip: _saved(
        lambda path: torch.save(clip.state_dict(), path, _use_new_zipfile_serialization=False), folder / "old.bin"
    ),
    "torch, a model_name among the tensors": lambda folder, clip: _saved(
        lambda path: torch.save({**vision(clip), "model_name": "ViT-B-32"}, path), folder / "named.pth"
    ),
    "pickled ImageEncoder": lambda folder, clip: pickled_encoder(folder / "finetuned.pt", clip),
    "pickled ImageEncoder, before 1.6": lambda folder, clip: old_pickled_encoder(folder / "finetuned_old.pt", clip),
    "CLIPVisionModelWithProjection": lambda folder, clip: hugging_face_folder(
        folder / "projected", hugging_face(vision(clip)), "CLIPVisionModelWithProjection"
    ),
    "CLIPVisionModel without the prefix": lambda folder, clip: hugging_face_folder(
        folder / "plain", hugging_face(vision(clip), ""), "CLIPVisionModel"
    ),
    "CLIPModel": lambda folder, clip: hugging_face_folder(folder / "clip", full_hugging_face(clip), "CLIPModel"),
    "sharded safetensors": lambda folder, clip: sharded_folder(folder / "shards", hugging_face(vision(clip))),
    "sharded .bin": lambda folder, clip: sharded_folder(folder / "bins", hugging_face(vision(clip)), "bin"),
}
