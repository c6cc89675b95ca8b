"""RegMean++: RegMean block by block, on the inputs that the blocks already merged hand on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch

from ri_analysis.checkpoints.towers import PREFIX
from ri_analysis.errors import InputError
from ri_analysis.merging.averaging import average
from ri_analysis.merging.lines import block_index
from ri_analysis.merging.method import Method, Observed, TaskStatistic
from ri_analysis.merging.with_data import regmean
from ri_analysis.scratch import zeros_on_disk
from ri_analysis.task_vectors import Layer


def merge_in_order(observed: Observed, *, images: int, off_diagonal: float) -> dict[str, torch.Tensor]:
    """Return M (1, *shape) of every matrix that multiplies activations; see `regmean.match_outputs`.

    What comes before the blocks is averaged. Then each expert's own block l sees what the merged blocks before l make
    of images of its task, which gives the XᵀX of the block's matrices; block l is merged (λ = 1) and hands its own
    outputs on. What follows the blocks is merged like one more block. Tokens between blocks, and the result, lie in
    files. Raises InputError for a tower that is not open_clip's own vision transformer.
    """
    encoder, vectors, merged = observed.encoder, observed.vectors, dict[str, torch.Tensor]()
    if not encoder.in_halves:
        raise InputError(
            f"regmean-plusplus: expected open_clip's own vision transformer, found {encoder.architecture.name}"
        )
    blocks, passed = encoder.blocks, 0
    stages: list[tuple[int | None, Callable[[torch.Tensor], torch.Tensor]]]
    stages = [*enumerate(blocks), (None, partial(encoder.forward_from, 0))]

    def count(parts: Sequence[torch.Tensor]) -> None:
        nonlocal passed
        passed += sum(map(len, parts))
        observed.seen(passed // len(blocks))

    encoder.load((name, vectors.pretrained(name)) for name in vectors.names)
    _put(observed, (_moved(layer, average(layer)) for layer in vectors.walk()))
    with torch.no_grad(), encoder.every_token():
        tokens = {task: _entering_blocks(observed, task, images) for task in vectors.tasks}
        for number, run in stages:
            names = [name for name in vectors.names if vectors.is_float(name) and block_index(name) == number]
            parameters = [item for item in encoder.module.named_parameters() if PREFIX + item[0] in names]
            grams = []
            for task, parts in tokens.items():
                _put(observed, ((name, vectors.expert(name, task)) for name in names))
                with regmean.recording(observed, parameters) as recorder:
                    for part in parts:
                        run(part.to(encoder.device))
                grams.append(recorder.found())
                if number is not None:
                    count(parts)
            merged |= zeros_on_disk({name: (1, *vectors.shape(name)) for name in grams[0]}, observed.folder)
            for layer in map(vectors.layer, names):
                known = [gram[layer.name] for gram in grams if layer.name in gram]
                direction = regmean.match_outputs(layer, statistics=known, off_diagonal=off_diagonal)
                _put(observed, [_moved(layer, direction)])
                if known:
                    merged[layer.name].copy_(direction)
            if number is not None:
                for parts in tokens.values():
                    for part in parts:
                        part.copy_(run(part.to(encoder.device)))
                    count(parts)
    return merged


def _moved(layer: Layer, direction: torch.Tensor) -> tuple[str, torch.Tensor]:
    return layer.name, layer.pretrained + direction


def _put(observed: Observed, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Copy some canonical tensors into the tower; the others stay."""
    slots = observed.encoder.module.state_dict()
    for name, tensor in tensors:
        slots[name.removeprefix(PREFIX)].copy_(tensor)


def _entering_blocks(observed: Observed, task: str, images: int) -> list[torch.Tensor]:
    """Return the tokens (n, tokens, width) that enter the first block, of a task's images in batches, in files."""
    encoder, parts = observed.encoder, []
    for inputs in regmean.batches(observed, task, images):
        tokens = encoder.forward_to(len(encoder.blocks), inputs)
        parts.append(zeros_on_disk({"tokens": tokens.shape}, observed.folder)["tokens"].copy_(tokens))
    return parts


def as_merged(layer: Layer, *, statistics: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return M of one layer where there is one, the mean of anything else."""
    return statistics[0].clone() if statistics else average(layer)


METHOD = Method(
    name="regmean-plusplus",
    title="RegMean++",
    summary="RegMean block by block: the regression for a block's matrices uses the inputs from the blocks merged so "
    "far, not from each expert's own earlier blocks. Everything else is averaged.",
    formula=r"\theta_m = \theta_0 + \lambda \Big(\sum_t \tau_t \hat G_t\Big)\Big(\sum_t \hat G_t\Big)^{-1},\quad "
    r"\hat G_t = \alpha X_t^\top X_t + (1-\alpha)\operatorname{diag}(X_t^\top X_t),\quad "
    r"X_t^{(l)} \text{ from } f_m^{(l-1)} \circ \dots \circ f_m^{(1)}(x),\ x \sim D_t",
    reference="Nguyen et al. 2025, RegMean++: enhancing effectiveness and generalization of regression mean, "
    "arXiv 2508.03121",
    direction=as_merged,
    statistic=TaskStatistic(
        merge_in_order,
        lambda sizes, images, **_: 2 * sum(min(images, size) for size in sizes),
        options=("images", "off_diagonal"),
        joint=True,
    ),
    weighted=False,
    hyperparameters=regmean.METHOD.hyperparameters,
)
