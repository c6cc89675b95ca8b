"""RI's second stage: all adapted experts are corrected together, so that their sum answers what each of them answers.

Alone, an expert learns to leave the others' predictions as they are; here it meets the others. θ₀ + λ Σ_t τ_t depends
on the sum of the experts alone, so that every expert has the same gradient: one model is trained, the sum, and each
expert takes its share of how far it moved. At a λ beyond the one that merges best, the sum holds more of what the
experts know, and the stage mends what they break.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from ri_analysis.checkpoints import outlines, read_checkpoint, read_metadata, write_safetensors
from ri_analysis.checkpoints.towers import PREFIX
from ri_analysis.encoder import Encoder, Head
from ri_analysis.errors import InputError
from ri_analysis.hyperparameters import Value
from ri_analysis.json_text import to_json
from ri_analysis.progress import Counter
from ri_analysis.resolving import plan
from ri_analysis.resolving.objective import DISTANCES
from ri_analysis.resolving.record import parse_as
from ri_analysis.suite import ORIGINAL, ImageSet, Suite
from ri_analysis.task_vectors import TaskVectors
from ri_analysis.training import parameters
from ri_analysis.training.descent import Descent
from ri_analysis.training.start import begin, clear
from ri_analysis.training.teachers import taught

METHOD = "RI together"  # what the file of a corrected expert says of itself


def correct(
    suite: Suite,
    encoder: Encoder,
    images: ImageSet,
    heads: Mapping[str, Head],
    settings: Mapping[str, Value],
    seed: int,
    folder: Path,
    counter: Counter,
) -> list[list[float]]:
    """Train θ₀ + λ Σ_t τ_t, the adapted experts in `folder`, on `taught`'s loss, and give each its share of the change.

    Returns the loss over the steps, [step, loss] rows. A call that was stopped goes on from the state that it saved,
    or with the experts that have not got their share yet.
    """
    share = plan.together_path(folder) / "share.safetensors"
    state = plan.together_state(folder)
    if not share.exists():
        state.parent.mkdir(parents=True, exist_ok=True)
        values = {**settings, "steps": settings["together"]}
        descent = Descent(encoder, len(images), values, (seed,), state, rate="together_lr")
        rows, scale = descent.rows(), float(settings["together_scale"])
        experts, distance = suite.task_vectors(ORIGINAL, tuple(heads)), DISTANCES[str(settings["distance"])]
        loss = taught(experts, encoder, images, rows, heads, state.parent, distance, counter.alive)
        towers = {task: suite.tower(read_checkpoint(plan.expert_path(folder, task))).tensors for task in heads}
        vectors = TaskVectors(suite.zero_shot, towers)
        begun, source = _sum(vectors, scale), f"{folder}: the experts' sum"
        start, _ = begin(encoder, begun, images, rows, values, state.parent, source)
        history = descent.run(start, loss, lambda step, _: counter.within(step))
        trained = [PREFIX + name for name in parameters.trained_weights(encoder, settings)]
        after, before = encoder.state(), dict(_sum(vectors, scale))
        moved = {name: (after[name].cpu() - before[name]) / (scale * len(heads)) for name in trained}
        layout = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in moved.items()}
        with plan.sealing(share):
            write_safetensors(share, layout, moved.items(), {"history": to_json(history)})
    if not plan.is_finished(share):
        raise InputError(f"{share}: expected the second stage's file, found another; delete {folder} to start over")
    clear(state.parent)
    for task in heads:
        _add(plan.expert_path(folder, task), task, share)
    counter.advance(int(settings["together"]))
    return parse_as(list[list[float]], read_metadata(share)["history"], share, "the losses of the second stage")


def _sum(vectors: TaskVectors, scale: float) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every tensor of θ₀ + scale · Σ_t τ_t."""
    for name in vectors.names:
        start = vectors.pretrained(name)
        if vectors.is_float(name):
            start = (start + scale * vectors.layer(name).sum()).float()
        yield name, start


def _add(expert: Path, task: str, share: Path) -> None:
    """Add the share to an expert's file, unless it has it."""
    if read_metadata(expert)["method"] == METHOD:
        return
    tensors, change = read_checkpoint(expert).tensors, read_checkpoint(share).tensors
    layout = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in outlines(tensors).items()}
    changed = ((name, tensor.float() + change[name] if name in change else tensor) for name, tensor in tensors.items())
    with plan.sealing(expert):
        write_safetensors(expert, layout, changed, {"task": task, "method": METHOD})
