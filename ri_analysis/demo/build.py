"""The recipe from raw data to the two suite folders, stage by stage.

Each stage leaves what it made in the work folder and is skipped when that is there, so an interrupted build resumes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
from safetensors.torch import load_file
from torch import Tensor

from ri_analysis.demo import keep
from ri_analysis.demo.adapt import SETTINGS as RESOLVING
from ri_analysis.demo.adapt import adapt
from ri_analysis.demo.extras import auxiliary_sources, halves, redrawn, unseen_domains
from ri_analysis.demo.finetune import SETTINGS, FineTuneSettings, fine_tune
from ri_analysis.demo.pretrain import (
    MODEL,
    PretrainSettings,
    accuracy,
    build_head,
    build_model,
    make_tokenizer,
    pretrain,
)
from ri_analysis.demo.sources import Labelled, Sources
from ri_analysis.demo.tasks import PretrainSource, TaskData, balanced, make_tasks, pretraining_sources
from ri_analysis.demo.write import (
    SuiteContent,
    round_weights,
    save_weights,
    vision_weights,
    write_model,
    write_suite,
)
from ri_analysis.hyperparameters import Value

Report = Callable[[str], None]

HALVES = ("DrawingsA", "DrawingsB")


@dataclass(frozen=True)
class Materials:
    """All images of the recipe: the tasks, what the pretraining sees, and what is beside the tasks."""

    tasks: Sequence[TaskData]
    pretraining: Sequence[PretrainSource]
    auxiliary: Mapping[str, np.ndarray]
    unseen: Mapping[str, tuple[tuple[str, ...], Labelled]]
    halved: str = "QuickDraw"
    redrawn: Mapping[str, Labelled] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """How the materials become models."""

    config: Mapping[str, Any] = field(default_factory=lambda: MODEL)
    pretraining: PretrainSettings = field(default_factory=PretrainSettings)
    fine_tuning: Mapping[str, FineTuneSettings] = field(default_factory=lambda: SETTINGS)
    resolving: Mapping[str, Value] = field(default_factory=lambda: RESOLVING)


def gather(sources: Sources, seed: int, report: Report) -> Materials:
    """Makes every set of images from the raw data."""
    report("making the tasks")
    tasks = make_tasks(sources, seed)
    report("making the pretraining images")
    pretraining = pretraining_sources(sources, tasks, seed)
    report("making the auxiliary images")
    auxiliary = auxiliary_sources(sources, tasks, seed)
    report("making the unseen domains")
    unseen = unseen_domains(sources, tasks, seed)
    drawings = next(task for task in tasks if task.name == "QuickDraw")
    return Materials(tasks, pretraining, auxiliary, unseen, redrawn=redrawn(drawings.test, seed))


def prepare(read: Callable[[], Sources], work: Path, seed: int, report: Report) -> Materials:
    """The materials, from the work folder if an earlier run left them there."""
    path = work / "materials.npz"
    if not path.is_file():
        keep.save(path, gather(read(), seed, report))
    found: Materials = keep.load(path, Materials, TaskData, PretrainSource, Labelled)
    return found


def build(materials: Materials, recipe: Recipe, out: Path, work: Path, report: Report) -> None:
    """Pretrains, fine-tunes, writes `out/demo` and `out/demo-halves`, and resolves the experts of both."""
    base = pretrained_model(materials, recipe, work, report)
    write_model(out / "demo", base, recipe.config)
    experts, heads = make_experts(base, materials.tasks, recipe, work, report)
    write_suite(
        out / "demo",
        SuiteContent(
            "demo",
            "model.json",
            "pretrained.safetensors",
            materials.tasks,
            experts,
            heads,
            materials.auxiliary,
            materials.unseen,
        ),
    )

    whole = next(task for task in materials.tasks if task.name == materials.halved)
    parts = halves(whole, HALVES)
    experts, heads = make_experts(base, parts, recipe, work, report)
    rows = balanced(whole.train.labels, 25 * len(whole.classes), np.random.default_rng(recipe.pretraining.seed))
    shared: dict[str, np.ndarray | str] = {
        name: f"../demo/auxiliary/{name}.npz" for name in materials.auxiliary if name != "oracle"
    }
    write_suite(
        out / "demo-halves",
        SuiteContent(
            "demo-halves",
            "../demo/model.json",
            "../demo/pretrained.safetensors",
            parts,
            experts,
            heads,
            {**shared, "oracle": whole.train.images[rows]},
            {name: (HALVES, data) for name, data in materials.redrawn.items()},
        ),
    )
    for name in ("demo", "demo-halves"):
        adapt(out / name, recipe.resolving, recipe.pretraining.seed, report)


def pretrained_model(materials: Materials, recipe: Recipe, work: Path, report: Report) -> open_clip.CLIP:
    """The pretrained CLIP, its weights rounded to half precision: every expert starts from exactly these."""
    path = work / "pretrained.safetensors"
    if not path.is_file():
        model = pretrain(materials.pretraining, materials.tasks, work, recipe.pretraining, report, recipe.config)
        save_weights(path, model.state_dict())
    model = build_model(recipe.config)
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    return model


def make_experts(
    base: open_clip.CLIP, tasks: Sequence[TaskData], recipe: Recipe, work: Path, report: Report
) -> tuple[dict[str, open_clip.CLIP], dict[str, Tensor]]:
    """Expert and frozen head of each task, by name; the experts' weights are rounded to half precision."""
    tokenizer = make_tokenizer(recipe.config)
    experts, heads = {}, {}
    for task in tasks:
        heads[task.name] = build_head(base, tokenizer, task.classes, task.templates)
        path = work / f"experts/{task.name}.safetensors"
        if path.is_file():
            model = build_model(recipe.config)
            state = base.state_dict() | {name: tensor.float() for name, tensor in load_file(path).items()}
            model.load_state_dict(state)
        else:
            settings = recipe.fine_tuning[task.name]
            model = round_weights(fine_tune(base, heads[task.name], task, settings, report))
            save_weights(path, vision_weights(model))
        report(
            f"{task.name}: test images, zero-shot {accuracy(base, heads[task.name], task.test):.3f}, "
            f"expert {accuracy(model, heads[task.name], task.test):.3f}"
        )
        experts[task.name] = model
    return experts, heads
