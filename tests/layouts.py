"""Small folders of checkpoints, heads and data, laid out as those are that people have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from checkpoint_formats import full_hugging_face, hugging_face, hugging_face_folder, model, pickled_encoder, pickled_head
from PIL import Image
from safetensors.torch import save_file
from tiny import MODEL, images

TASKS = {"MNIST": 3, "Cars": 4}


def config(folder: Path, *, quick_gelu: bool = True) -> None:
    """Write open_clip's config of the tiny model, which has no name there."""
    text = MODEL["model_cfg"]["text_cfg"] | {"vocab_size": 50}
    wanted = {"model_cfg": MODEL["model_cfg"] | {"text_cfg": text, "quick_gelu": quick_gelu}}
    (folder / "tiny-clip.json").write_text(json.dumps(wanted | {"preprocess_cfg": MODEL["preprocess_cfg"]}))


def moved(size: float, seed: int) -> torch.nn.Module:
    """The tiny CLIP, fine-tuned to some size."""
    clip = model()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in clip.named_parameters():
            if name.startswith("visual."):
                value += size * torch.randn(value.shape, generator=generator)
    return clip


def head(classes: int) -> torch.Tensor:
    return 10 * torch.nn.functional.normalize(torch.randn(classes, 16, generator=torch.Generator().manual_seed(classes)))


def image_folder(folder: Path, classes: int, channel: int) -> None:
    """Write images, two of each class, in one folder a class."""
    made = images(2 * classes, classes, channel, classes)
    for index, (pixels, label) in enumerate(zip(made["images"], made["labels"], strict=True)):
        place = folder / f"class {label}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{index}.png")


def task_vectors(root: Path) -> Path:
    """Pickled modules below checkpoints/, data below data/ as its loaders want it."""
    folder = root / "checkpoints" / "ViT-B-32"
    folder.mkdir(parents=True)
    config(root)
    pickled_encoder(folder / "zeroshot.pt", model())
    for number, (task, classes) in enumerate(TASKS.items()):
        (folder / task).mkdir()
        pickled_encoder(folder / task / "finetuned.pt", moved(0.05, number))
        pickled_encoder(folder / task / "checkpoint_100.pt", moved(0.02, number))
        pickled_head(folder / f"head_{task}.pt", head(classes))
    digits = images(12, 3, 0, 0)
    for name, data in (("train", digits), ("t10k", digits)):
        raw = root / "data" / "MNIST" / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        grey = data["images"][..., 0]
        header = np.array([0x803, *grey.shape], ">u4").tobytes()
        (raw / f"{name}-images-idx3-ubyte").write_bytes(header + grey.tobytes())
        labels = data["labels"].astype(np.uint8)
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(np.array([0x801, len(labels)], ">u4").tobytes() + labels.tobytes())
    for split in ("train", "test"):
        image_folder(root / "data" / "stanford_cars" / split, TASKS["Cars"], 1)
    return root


def tall_masks(root: Path) -> Path:
    """Plain state dicts, the pretrained model beside each expert, heads still pickled; folders end in Val."""
    folder = root / "checkpoints" / "ViT-B-32"
    folder.mkdir(parents=True)
    config(root)
    for number, (task, classes) in enumerate(TASKS.items()):
        own = folder / f"{task}Val"
        own.mkdir()
        for name, clip in (("zeroshot", model()), ("finetuned", moved(0.05, number))):
            state = {f"model.{key}": value for key, value in clip.state_dict().items()}
            torch.save({**state, "model_name": "ViT-B-32"}, own / f"nonlinear_{name}.pt")
        torch.save({"params.0": torch.zeros(2), "params0.0": torch.zeros(2)}, own / "linear_finetuned.pt")
        pickled_head(folder / f"head_{task}Val.pt", head(classes))
        np.savez(root / f"{task.lower()}_test.npz", **images(12, classes, number, 1))
    return root


def hub(root: Path, *, cached: bool = False) -> Path:
    """FusionBench's models beside OpenAI's, with data sets saved to disk; `cached` as in the hub's own cache."""
    from datasets import ClassLabel, Dataset, Features
    from datasets import Image as Column

    def place(name: str, owner: str) -> Path:
        if not cached:
            return root / name
        (root / "hub" / f"models--{owner}--{name}" / "refs").mkdir(parents=True)
        (root / "hub" / f"models--{owner}--{name}" / "refs" / "main").write_text("b2")
        return root / "hub" / f"models--{owner}--{name}" / "snapshots" / "b2"

    root.mkdir(parents=True, exist_ok=True)
    config(root)
    name = "clip-vit-base-patch32"
    hugging_face_folder(place(name, "openai"), full_hugging_face(model()), "CLIPModel", act="quick_gelu")
    for number, (task, classes) in enumerate((("mnist", 3), ("stanford-cars", 4))):
        tower = {key: value for key, value in moved(0.05, number).state_dict().items() if key.startswith("visual.")}
        expert = hugging_face(tower, projection=False)
        hugging_face_folder(place(f"{name}_{task}", "tanganke"), expert, "CLIPVisionModel", act="quick_gelu")
        made = images(2 * classes, classes, number, 2)
        labels = ClassLabel(names=[f"thing {index}" for index in range(classes)])
        columns = {"image": [Image.fromarray(item) for item in made["images"]], "label": made["labels"].tolist()}
        data = Dataset.from_dict(columns, features=Features({"image": Column(), "label": labels}))
        for split in ("train", "test"):
            data.save_to_disk(str(root / "datasets" / task / split))
    return root


def flat(root: Path) -> Path:
    """Safetensors of one folder, called by their tasks; nothing is called pretrained but by its weights."""
    root.mkdir(parents=True)
    config(root)
    for name, clip in (("origin", model()), ("mnist", moved(0.05, 0)), ("cars", moved(0.05, 1))):
        save_file({k: v.contiguous() for k, v in clip.visual.state_dict().items()}, root / f"{name}.safetensors")
    for number, (task, classes) in enumerate(TASKS.items()):
        save_file({"weight": head(classes)}, root / f"{task.lower()}_head.safetensors")
        np.savez(root / f"{task.lower()}.npz", **images(12, classes, number, 1))
    np.savez(root / "unlabelled.npz", images=images(8, 4, 0, 3)["images"])
    return root


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "task_vectors": task_vectors,
    "tall_masks": tall_masks,
    "hub": hub,
    "hub cache": lambda root: hub(root, cached=True),
    "flat": flat,
}
