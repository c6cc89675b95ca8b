"""One model for all experts: the distance of what it answers, in each expert's own head, from what that one answers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ri_analysis.divergences import kl_divergence
from ri_analysis.encoder import Encoder, Head
from ri_analysis.encoder.tower import Weights
from ri_analysis.progress import Counter, Progress
from ri_analysis.scratch import zeros_on_disk
from ri_analysis.suite import ImageSet
from ri_analysis.suite.images import Indices, Subset, in_memory
from ri_analysis.task_vectors import TaskVectors
from ri_analysis.training.descent import Descent, Loss, drop_damaged
from ri_analysis.training.precision import compute_in
from ri_analysis.training.start import Rows, begin, clear, room
from ri_analysis.training.variants import Variants, some


def taught(
    experts: TaskVectors,
    encoder: Encoder,
    images: ImageSet,
    rows: Indices,
    heads: Mapping[str, Head],
    folder: Path,
    distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = kl_divergence,
    progress: Progress | None = None,
) -> Loss:
    """Return the loss 1/N Σ_t d(h_t f(x;θ_t), h_t f(x;θ)) of images among `rows`: one model for all N `experts`.

    The experts' outputs are computed at once, for which the encoder is loaded with each; they lie in a file in `folder`
    where there is no `room` for them. d is KL unless another `distance` of logits (k, classes) is given. `progress`
    counts images.
    """
    device, total = encoder.device, len(heads) * len(rows)
    teachers: list[tuple[torch.Tensor, Rows]] = []
    for number, (task, head) in enumerate(heads.items()):

        def within(done: int, _: int, before: int = number * len(rows)) -> None:
            if progress is not None:
                progress(before + done, total)

        weights = ((name, experts.expert(name, task)) for name in experts.names)
        found = encoder.features(weights, images, rows, source=experts.source(task), progress=within)
        if found.nbytes * len(heads) > room():
            found = zeros_on_disk({task: found.shape}, folder)[task].copy_(found)
        teachers.append((head.weight.to(device), Rows(rows, found)))

    def loss(features: torch.Tensor, rows: Indices) -> tuple[torch.Tensor]:
        terms = [distance(expert.at(rows).to(device) @ head.T, features @ head.T).mean() for head, expert in teachers]
        return (torch.stack(terms).mean(),)

    return loss


def teach(
    encoder: Encoder,
    model: Callable[..., Weights],
    experts: TaskVectors,
    heads: Mapping[str, Head],
    images: ImageSet,
    settings: Mapping[str, Any],
    *,
    seed: int,
    state: Path,
    seen: Callable[[int], None],
) -> None:
    """Train what `model`, given a `progress`, returns, in the encoder, on `taught`'s loss over augmented `images`.

    `settings` are those of `training.settings`, `steps` and `pool`; products are computed in float32. A run that is
    stopped resumes from the file `state`, unless that is damaged; beside it lies what is too large for memory. `seen`
    is called with the number of images seen, and may raise Cancelled. Raises NotFinite for a loss that is not finite.
    """
    compute_in("float32", encoder)
    variants = Variants(images, int(settings["views"]), seed)
    pool = some(len(variants), min(len(variants), int(settings["pool"]) or len(variants)), seed)
    drawn = in_memory(Subset(variants, pool), encoder.image_size, room())
    drop_damaged(state)  # where it lies, and that it can be deleted, is nothing that a user of the app can know
    descent, scratch = Descent(encoder, len(drawn), settings, (seed,), state), state.with_suffix("")
    rows, counter = descent.rows(), Counter(lambda done, _: seen(done), sys.maxsize)
    loss = taught(experts, encoder, drawn, rows, heads, state.parent, progress=counter.within)
    counter.advance(len(heads) * len(rows))
    weights = model(progress=counter.alive)
    start, _ = begin(encoder, weights, drawn, rows, settings, scratch, "merged model", counter.within)
    counter.advance(len(rows))
    batch = min(int(settings["batch"]), len(drawn))
    descent.run(start, loss, lambda step, _: counter.within(step * batch))
    clear(scratch)
