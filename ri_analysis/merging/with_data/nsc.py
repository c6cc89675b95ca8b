"""NSC: learn the coefficients under which every task's activations lie in the space that its adapters read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from ri_analysis.checkpoints.towers import PREFIX
from ri_analysis.errors import InputError
from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging.factorisation import EPSILON
from ri_analysis.merging.method import Method, Observed, TaskStatistic, scale
from ri_analysis.merging.with_data.adamerging import DESCENT, add_up, descend, images_seen

_LEAST = 1e-8  # keeps the square root's slope finite where nothing lies outside


def learn_coefficients(observed: Observed, *, rank: int, seed: int, **options: Any) -> dict[str, torch.Tensor]:
    """Return the coefficients under which the merged model's null-space ratios are least; see `descend`.

    The loss is the mean, over the linear layers, images and tokens, of √(1 − ‖V_tᵀx‖²/‖x‖²) of the layer's input x: how
    much of it lies outside the row space of the task vector there. V_t (inputs, rank) are the leading right singular
    vectors of τ_t; of a LoRA adapter BA of that rank they span the rows of A. Attention counts as one layer, by what it
    is handed; what goes into its output projection can't be seen from outside.
    """
    spaces = {task: _spaces(observed, task, rank) for task in observed.vectors.tasks}

    def losses(task: str, inputs: torch.Tensor) -> torch.Tensor:
        with _ratios(observed.encoder.module, spaces[task]) as found:
            observed.encoder.forward(inputs)
        if not found:
            raise InputError(f"nsc: expected a tower with linear layers that the expert of {task} changed, found none")
        return torch.stack(found).mean().expand(len(inputs))

    with observed.encoder.every_token():
        return descend(observed, losses, seed=seed, **options)


def _spaces(observed: Observed, task: str, rank: int) -> dict[str, torch.Tensor]:
    """Return V_t (inputs, at most `rank`) of every matrix of a task vector that is not zero."""
    found = {}
    for layer in observed.vectors.select((task,)).walk():
        if layer.is_matrix:
            [delta] = layer.each()
            _, sizes, rows = torch.linalg.svd(delta.to(observed.encoder.device).double(), full_matrices=False)
            count = min(rank, int((sizes > EPSILON * sizes[0]).sum()))
            if count:
                found[layer.name.removeprefix(PREFIX)] = rows[:count].T.float().contiguous()
    return found


@contextmanager
def _ratios(tower: torch.nn.Module, spaces: Mapping[str, torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Note the mean null-space ratio of what is meanwhile handed to linear layers and to attention."""
    found: list[torch.Tensor] = []
    hooks = []
    for path, module in tower.named_modules():
        kind = {torch.nn.Linear: "weight", torch.nn.MultiheadAttention: "in_proj_weight"}.get(type(module))
        space = spaces.get(f"{path}.{kind}")
        if space is not None:
            hooks.append(module.register_forward_pre_hook(partial(_note, found, space)))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _note(found: list[torch.Tensor], space: torch.Tensor, _: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    found.append(_outside(inputs[0], space).mean())


def _outside(inputs: torch.Tensor, space: torch.Tensor) -> torch.Tensor:
    """Return √(1 − ‖Vᵀx‖²/‖x‖²) of every row x of `inputs`."""
    inside, whole = (inputs @ space).square().sum(dim=-1), inputs.square().sum(dim=-1)
    return (1 - inside / (whole + _LEAST)).clamp(min=_LEAST).sqrt()


METHOD = Method(
    name="nsc",
    title="NSC Merging",
    summary="Learns one coefficient for each expert, or for each expert and tensor, so that the activations of "
    "every task's unlabelled images fall, as far as possible, in the space that its expert's update reads. Made for "
    "LoRA.",
    formula=r"\theta_m = \theta_0 + \lambda\sum_t \lambda_t\,\tau_t,\quad \lambda_1 \dots \lambda_T = \arg\min "
    r"\sum_t \mathbb{E}_{x\sim D_t} \operatorname{mean}_l \sqrt{1 - \lVert V_{t,l}^\top z_l(x;\theta_m)\rVert^2 / "
    r"\lVert z_l(x;\theta_m)\rVert^2}",
    reference="Lee et al. 2026, Label-free cross-task LoRA merging with null-space compression, arXiv 2603.26317",
    direction=add_up,
    statistic=TaskStatistic(
        learn_coefficients, images_seen, options=(*(item.name for item in DESCENT), "rank"), joint=True
    ),
    seeded=True,
    weighted=False,
    hyperparameters=(
        scale(1.0, sweep=(0.2, 2.0)),
        *DESCENT,
        Hyperparameter(
            "rank",
            "directions that an expert's update is assumed to read in each matrix: for LoRA, the adapter's rank",
            16,
            1,
            4096,
            sweep=(4, 64),
            log=True,
            label="directions read",
        ),
    ),
)
