"""Distilled Merge: merge first, then teach the merged model on auxiliary images what the experts answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging import (
    averaging,
    breadcrumbs,
    consensus,
    dare,
    della,
    iso_c,
    iso_cts,
    knots_ties,
    optmerge,
    pcb,
    task_arithmetic,
    ties,
    tsv_m,
    wudi,
)
from ri_analysis.merging.method import Method, Observed, TaskStatistic, scale
from ri_analysis.scratch import zeros_on_disk
from ri_analysis.task_vectors import Layer
from ri_analysis.training.settings import (
    BATCH,
    BLOCKS,
    LARGE_RATE,
    MEMORY,
    PARAMETERS,
    RANK,
    RATE,
    SCHEDULE,
    VIEWS,
    WEIGHT_DECAY,
)

_STARTS = [
    *(module.METHOD for module in (averaging, breadcrumbs, consensus, dare, della, iso_c, iso_cts, knots_ties)),
    *(module.METHOD for module in (optmerge, pcb, task_arithmetic, ties, tsv_m, wudi)),
]  # which merge any number of experts at some λ, without images
_SMALL_RATE = 2e-4  # at which a large tower diverges


def distil(
    observed: Observed, *, start: str, start_scale: float, steps: int, lr: float, seed: int, **settings: Any
) -> dict[str, torch.Tensor]:
    """Return the merged task vector (1, *shape) of every tensor after `steps` that teach a merge what experts answer.

    Minimised is E_x 1/N Σ_t KL(h_t f(x;θ_t) ‖ h_t f(x;θ)) over auxiliary images x, from the merge of the experts by
    `start`; θ_t are the original experts. A run that is stopped resumes. The result lies in a file. Raises NotFinite
    where the learning rate is so high that the loss overflows.
    """
    from ri_analysis.merging.merge import merge  # which needs the registry, and that this module
    from ri_analysis.merging.recipe import MergeRecipe
    from ri_analysis.training.teachers import teach

    vectors, encoder = observed.vectors, observed.encoder
    begun = MergeRecipe.of(start, vectors.tasks)
    begun = MergeRecipe.of(start, vectors.tasks, {"scale": start_scale or 2 * begun.scale}, seed=seed)
    merged = partial(merge, vectors, begun)
    if steps:
        rate = lr or (LARGE_RATE if encoder.architecture.large else _SMALL_RATE)
        given = {"steps": steps, RATE.name: rate, MEMORY.name: MEMORY.default, **settings}
        teach(
            encoder,
            merged,
            observed.originals,
            observed.heads,
            next(iter(observed.images.values())),
            given,
            seed=seed,
            state=observed.state,
            seen=observed.seen,
        )
    else:
        encoder.load(merged())
    tensors, floats = encoder.state(), [name for name in vectors.names if vectors.is_float(name)]
    found = zeros_on_disk({name: (1, *vectors.shape(name)) for name in floats}, observed.folder)
    for name, target in found.items():
        torch.sub(tensors[name], vectors.pretrained(name), out=target[0])
    return found


def images_seen(sizes: Sequence[int], *, steps: int, batch: int, views: int, pool: int, **_: object) -> int:
    """Return how many images are seen: those drawn by each expert and by the merge at first, then those of the steps.

    `sizes` holds the number of auxiliary images once for each task.
    """
    images = min(sizes[0] * views, pool or sizes[0] * views)
    trained = steps * min(batch, images)
    return (len(sizes) + 1) * min(images, trained) + trained


def as_taught(layer: Layer, *, statistics: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the merged task vector of one layer."""
    return statistics[0].clone()  # what is kept stays as it is: λ and LiNeS change the merge in place


TRAINING = (
    Hyperparameter(
        "steps",
        "gradient steps; 0 leaves the merge as it was",
        300,
        0,
        1_000_000,
        sweep=(50, 1000),
        step=50,
        label="gradient steps",
        unit="gradient steps",
    ),
    replace(
        RATE,
        meaning=f"learning rate of AdamW; 0: {_SMALL_RATE:g}, or {LARGE_RATE:g} for a large tower such as ViT-B/32",
        default=0.0,
        low=0.0,
        sweep=(1e-5, 1e-3),
        step=1e-5,
        log=False,
        zero="automatic",
    ),
    WEIGHT_DECAY,
    replace(BATCH, default=64),
    replace(VIEWS, default=8),
    Hyperparameter(
        "pool",
        "different images, augmented views included, that the steps draw from; each expert is run on all of them; 0: "
        "all",
        4096,
        0,
        100_000_000,
        sweep=(0, 8192),
        label="pool of images",
        unit="images",
        zero="whole",
    ),
    replace(SCHEDULE, default="warm-cosine"),
    replace(PARAMETERS, meaning="weights to train; the others stay as merged"),
    BLOCKS,
    RANK,
)
METHOD = Method(
    name="distilled",
    title="Distilled Merge",
    summary="Starts from another method's merge and trains it, on unlabelled auxiliary images, to reproduce each "
    "original expert's predictions in its task's head: the alternative to RI that adapts after the merge.",
    formula=r"\theta_m = \theta_0 + \lambda\,(\theta - \theta_0),\quad \theta \approx \arg\min_{\theta} "
    r"\mathbb{E}_{x\sim A}\, \frac{1}{N} \sum_t \operatorname{KL}\big(h_t f(x;\theta_t)\,\Vert\,h_t f(x;\theta)\big)",
    reference="Ramesh et al. 2026, arXiv 2603.13467, where RI is compared with it",
    direction=as_taught,
    statistic=TaskStatistic(
        distil,
        images_seen,
        options=("start", "start_scale", *(item.name for item in TRAINING)),
        joint=True,
        auxiliary=True,
    ),
    seeded=True,
    weighted=False,
    hyperparameters=(
        scale(1.0, sweep=(0.2, 2.0)),
        Hyperparameter(
            "start",
            "method of the merge that training starts from",
            "tsv-m",
            choices=tuple(method.name for method in _STARTS),
            titles=tuple(method.title for method in _STARTS),
            label="merge to start from",
        ),
        Hyperparameter(
            "start_scale",
            "λ of the merge that training starts from; 0: twice that method's default, so that the merge keeps more of "
            "what the experts know and training repairs the damage",
            0.0,
            0.0,
            10.0,
            sweep=(0.1, 2.0),
            step=0.05,
            label="scale λ of the start",
            zero="automatic",
        ),
        *TRAINING,
    ),
)
