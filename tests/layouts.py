"""Small folders of checkpoints, heads and data, laid out as those are that people have."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from checkpoint_formats import (
    full_hugging_face,
    hugging_face,
    hugging_face_folder,
    model,
    pickled_encoder,
    pickled_head,
    vision,
)
from PIL import Image
from safetensors.torch import save_file
from tiny import MODEL, images

from ri_analysis.suite import resource_root

TASKS = {"MNIST": 3, "Cars": 4}
HUB_TASKS = {"mnist": "MNIST", "eurosat": "EuroSAT"}
CLASSES = resource_root() / "assets" / "benchmarks" / "classes"


def config(folder: Path, *, vocabulary: int = 50) -> None:
    """Write open_clip's config of the tiny model, which has no name there."""
    text = MODEL["model_cfg"]["text_cfg"] | {"vocab_size": vocabulary}
    wanted = {"model_cfg": MODEL["model_cfg"] | {"text_cfg": text, "quick_gelu": True}}
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
    return 10 * torch.nn.functional.normalize(
        torch.randn(classes, 16, generator=torch.Generator().manual_seed(classes))
    )


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
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(
            np.array([0x801, len(labels)], ">u4").tobytes() + labels.tobytes()
        )
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
    """FusionBench's models beside OpenAI's whole CLIP, and data sets; `cached`: in the hub's cache, with links."""
    root.mkdir(parents=True, exist_ok=True)
    config(root, vocabulary=49408)
    name = "clip-vit-base-patch32"
    clip = open_clip.CLIP(**MODEL["model_cfg"], quick_gelu=True)
    clip.visual.load_state_dict(model().visual.state_dict())
    parts = {f"openai/{name}": ("CLIPModel", full_hugging_face(clip))}
    for number, task in enumerate(HUB_TASKS):
        tower = hugging_face(vision(moved(0.05, number)), projection=False)
        parts[f"tanganke/{name}_{task}"] = ("CLIPVisionModel", tower)
    for repository, (kind, tensors) in parts.items():
        folder = hugging_face_folder(root / repository.rpartition("/")[2], tensors, kind, act="quick_gelu")
        if cached:
            into_cache(root / "hub", f"models/{repository}", folder)
    for number, (task, public) in enumerate(HUB_TASKS.items()):
        rows = table(images(12, 3, number, 2), (CLASSES / f"{public}.txt").read_text().splitlines())
        for split in ("train", "test"):
            folder = root / "datasets" / task
            if cached:
                (folder / "data").mkdir(parents=True, exist_ok=True)
                pq.write_table(rows, folder / "data" / f"{split}-00000-of-00001.parquet")
            else:
                saved_to_disk(folder / split, rows)
        if cached:
            into_cache(root / "hub", f"datasets/tanganke/{task}", folder)
    return root


def table(made: dict[str, np.ndarray], names: list[str]) -> pa.Table:
    """Images and labels as Hugging Face keeps them, with the names of all classes."""
    encoded = []
    for pixels in made["images"]:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "png")
        encoded.append({"bytes": stream.getvalue(), "path": None})
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    rows = pa.table({"image": encoded, "label": pa.array(made["labels"], pa.int64())})
    return rows.replace_schema_metadata({b"huggingface": json.dumps({"info": {"features": features}}).encode()})


def saved_to_disk(folder: Path, rows: pa.Table) -> None:
    folder.mkdir(parents=True)
    with pa.ipc.new_stream(str(folder / "data-00000-of-00001.arrow"), rows.schema) as stream:
        stream.write_table(rows)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    features = json.loads(rows.schema.metadata[b"huggingface"])["info"]
    (folder / "dataset_info.json").write_text(json.dumps(features))


def into_cache(cache: Path, repository: str, folder: Path) -> None:
    """Move a folder to where the hub's cache keeps it: files lie in blobs, a snapshot links to them."""
    place = cache / repository.replace("/", "--")
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("b2")
    (place / "blobs").mkdir()
    (place / "snapshots" / "a1").mkdir(parents=True)  # an older, empty one
    for number, file in enumerate(sorted(item for item in folder.rglob("*") if item.is_file())):
        link = place / "snapshots" / "b2" / file.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.rename(place / "blobs" / f"{number:x}"))
    shutil.rmtree(folder)


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
