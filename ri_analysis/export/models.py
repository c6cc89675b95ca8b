"""A merged model as others load it: a whole CLIP for open_clip, or a folder for transformers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ri_analysis import __version__
from ri_analysis.checkpoints import Checkpoint, Tensors, outline, outlines, read_checkpoint, whole_model
from ri_analysis.checkpoints.hugging_face import split
from ri_analysis.checkpoints.lazy import Computed, Same
from ri_analysis.checkpoints.writer import read_metadata, write_safetensors
from ri_analysis.encoder import Architecture
from ri_analysis.engine import Evaluator
from ri_analysis.engine.measurement import Request
from ri_analysis.errors import InputError, WriteError
from ri_analysis.export.facts import command, recipe_in_words
from ri_analysis.figures import words
from ri_analysis.files import in_words, temporary_folder, write_text
from ri_analysis.hyperparameters import suggest
from ri_analysis.markdown import markdown_table
from ri_analysis.merging import MergeRecipe

TOWER, OPEN_CLIP, HUGGING_FACE = "tower", "open-clip", "hugging-face"
LAYOUTS = (TOWER, OPEN_CLIP, HUGGING_FACE)
_VISION = {"image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio"}  # what Hugging Face's CLIP has too
_TEXT = {"context_length", "vocab_size", "width", "heads", "layers"}
_VISUAL = "visual."
MODEL_FILE = "model.safetensors"

Named = Iterable[tuple[str, torch.Tensor]]


def check_layout(layout: str, evaluator: Evaluator, out: Path) -> None:
    """Raise InputError where a merged model can't be written to `out` in this layout: before any long work.

    "open-clip" takes a pretrained checkpoint that holds a whole CLIP, "hugging-face" an architecture that transformers'
    CLIP can express, and a new folder.
    """
    if layout not in LAYOUTS:
        raise InputError(f"unknown layout {layout!r}; {suggest(layout, LAYOUTS)}")
    pretrained = evaluator.suite.pretrained
    if layout == OPEN_CLIP and not _has_text(whole_model(pretrained)):
        raise InputError(
            f"{pretrained.path}: expected a whole CLIP, whose text tower the merged model keeps, found a vision tower"
        )
    if layout == HUGGING_FACE:
        _require_plain(evaluator.architecture)
        _require_new(out)


@contextmanager
def merged_into(out: Path, layout: str, evaluator: Evaluator, recipe: MergeRecipe, suite: str) -> Iterator[Path]:
    """Yield where to write the merged tower, which then becomes `out` in its layout; `suite` is what it is called.

    "hugging-face" is a CLIPModel where the pretrained checkpoint is a whole CLIP, else a CLIPVisionModelWithProjection.
    """
    if layout == TOWER:
        yield out
        return
    if layout == HUGGING_FACE:
        _require_new(out)
    with temporary_folder(out) as folder:
        tower = folder / "tower.safetensors"
        yield tower
        pretrained, architecture = evaluator.suite.pretrained, evaluator.architecture
        tensors, about = _whole(pretrained, tower, architecture), read_metadata(tower)
        shapes, values = outlines(tensors).items(), tensors.items()
        if layout == OPEN_CLIP:
            _write(out, shapes, values, {**about, "model_cfg": json.dumps(architecture.config)})
            return
        whole = _has_text(tensors)
        _write(folder / MODEL_FILE, _split(shapes, architecture), _split(values, architecture), about)
        _write_json(folder / "config.json", _config(architecture, whole=whole))
        _write_json(folder / "preprocessor_config.json", _preprocessing(architecture))
        write_text(folder / "README.md", model_card(evaluator, recipe, suite))
        tower.unlink()
        try:
            folder.chmod(0o755)
            folder.rename(out)
        except OSError as error:
            raise WriteError(f"{out}: can't be written: {in_words(error)}") from error


def loading(out: Path, layout: str, evaluator: Evaluator) -> str:
    """Return the line of Python that loads what was written; "" for a tower alone, which goes into a CLIP of one's own.

    The architecture's name matters to open_clip: "-quickgelu" at its end chooses another activation, which no tensor
    shows.
    """
    if layout == OPEN_CLIP:
        name, spec = evaluator.architecture.name, evaluator.suite.spec
        file = spec.path.parent / spec.architecture
        if not file.is_file():
            return f"open_clip.create_model({name!r}, pretrained={str(out)!r})"
        config = f"json.load(open({str(file)!r}))" + ("['model_cfg']" if "model_cfg" in file.read_text("utf-8") else "")
        return f"clip = open_clip.CLIP(**{config}); open_clip.load_checkpoint(clip, {str(out)!r})"
    if layout == HUGGING_FACE:
        whole = _has_text(whole_model(evaluator.suite.pretrained))
        kind = "CLIPModel" if whole else "CLIPVisionModelWithProjection"
        return f"transformers.{kind}.from_pretrained({str(out)!r})"
    return ""


def _has_text(tensors: Tensors) -> bool:
    return not all(name.startswith(_VISUAL) for name in tensors)


def _split(tensors: Named, architecture: Architecture) -> Named:
    try:
        for name, tensor in tensors:
            yield from split(name, tensor)
    except KeyError as error:
        raise InputError(
            f"{architecture.name}: expected a tower that Hugging Face's CLIP has too, found tensor {error.args[0]!r}"
        ) from error


def _whole(pretrained: Checkpoint, tower: Path, architecture: Architecture) -> Tensors:
    """Return the tensors of the CLIP with the merged tower: without a text tower where the pretrained one has none."""
    own, merged = whole_model(pretrained), read_checkpoint(tower).tensors
    if not _has_text(own):
        return merged
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in architecture.build().state_dict().items()}
    makers = {}
    for name, shape in shapes.items():
        source = merged if name.startswith(_VISUAL) else own
        if name not in source:
            raise InputError(f"{pretrained.path}: expected {name!r} of a whole {architecture.name}, found none")
        found = outline(source, name).shape
        if found != shape:
            raise InputError(f"{pretrained.path}: expected {name!r} of shape {tuple(shape)}, found {tuple(found)}")
        makers[name] = Same(source, name)
    return Computed(makers, str(pretrained.path))


def _write(path: Path, shapes: Named, tensors: Named, metadata: Mapping[str, str]) -> None:
    layout = {name: (tuple(shape.shape), shape.dtype) for name, shape in shapes}
    write_safetensors(path, layout, tensors, {**metadata, "format": "pt"})


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(value, indent=2) + "\n")


def _require_new(out: Path) -> None:
    if out.exists():
        raise InputError(f"{out}: expected a new folder, found one that exists")


def model_card(evaluator: Evaluator, recipe: MergeRecipe, suite: str) -> str:
    """Return the Markdown of a model card: how the merge was made, and its accuracy where that is known."""
    files = "\n".join(f"- `{name}`: `{digest}`" for name, digest in evaluator.ingredients(recipe).items())
    return f"""---
library_name: transformers
tags: [model-merging, clip]
---

# A merge of {words.count(len(recipe.tasks), "CLIP expert")}

{recipe_in_words(recipe)}. Suite: {evaluator.suite.name}. Made by ri-analysis {__version__}.

{_accuracy(evaluator, recipe, command(recipe, suite))}

## Made of

Digests of the content of the weights:

{files}

A merge is a derivative of all of these: their licences' terms for derivatives apply to it. The program that wrote this
does not know these licences. The tokenizer is that of the pretrained model; it is not part of this folder.
"""


def _accuracy(evaluator: Evaluator, recipe: MergeRecipe, how: str) -> str:
    if not evaluator.known([Request(evaluator.model(recipe), evaluator.sections(recipe.tasks))]):
        return f"Its accuracy was not measured; `{how}` measures it."
    table = evaluator.measure(recipe).table
    shown = pd.DataFrame(
        {
            "task": table["task"],
            "accuracy": [
                f"{words.percent(value)} ({words.percent_range(low, high)})"
                for value, low, high in zip(
                    table["accuracy"], table["accuracy_low"], table["accuracy_high"], strict=True
                )
            ],
            "the task's expert": table["expert_accuracy"].map(words.percent),
            "zero-shot": table["zero_shot_accuracy"].map(words.percent),
            "images": table["n"],
        }
    )
    return f"Accuracy on test images with 95% intervals, as `{how}` prints it:\n\n{markdown_table(shown)}"


# --- transformers' configs --------------------------------------------------------------------------------


def _require_plain(architecture: Architecture) -> None:
    """Raise InputError for what Hugging Face's CLIP has not."""
    config = architecture.config
    for part, known in (("vision_cfg", _VISION), ("text_cfg", _TEXT)):
        if other := sorted(set(config.get(part, {})) - known):
            raise InputError(
                f"{architecture.name}: expected an architecture that Hugging Face's CLIP has too, found "
                f"{part} {other[0]!r}"
            )
    if not isinstance(config["vision_cfg"].get("layers", 12), int):
        raise InputError(f"{architecture.name}: expected a vision transformer, found a ResNet")


def _config(architecture: Architecture, *, whole: bool) -> dict[str, Any]:
    config, common = architecture.config, {"hidden_act": "quick_gelu" if architecture.quick_gelu else "gelu"}
    own, size = config["vision_cfg"], int(config["embed_dim"])
    width = int(own.get("width", 768))
    vision = {
        "hidden_size": width,
        "intermediate_size": int(width * own.get("mlp_ratio", 4.0)),
        "num_hidden_layers": int(own.get("layers", 12)),
        "num_attention_heads": width // int(own.get("head_width", 64)),
        "patch_size": int(own.get("patch_size", 16)),
        "image_size": architecture.image_size,
        "projection_dim": size,
        **common,
    }
    if not whole:
        kind = {"architectures": ["CLIPVisionModelWithProjection"], "model_type": "clip_vision_model"}
        return {**kind, **vision, "torch_dtype": "float32"}
    own = config["text_cfg"]
    width = int(own.get("width", 512))
    text = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": int(own.get("layers", 12)),
        "num_attention_heads": int(own.get("heads", 8)),
        "max_position_embeddings": int(own.get("context_length", 77)),
        "vocab_size": int(own.get("vocab_size", 49408)),
        "projection_dim": size,
        "eos_token_id": 2,  # transformers then pools at the largest token, as open_clip does
        **common,
    }
    kind = {"architectures": ["CLIPModel"], "model_type": "clip"}
    return {**kind, "vision_config": vision, "text_config": text, "projection_dim": size, "torch_dtype": "float32"}


def _preprocessing(architecture: Architecture) -> dict[str, Any]:
    size = architecture.image_size
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": size},
        "resample": 3,  # bicubic
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(architecture.mean),
        "image_std": list(architecture.std),
    }
