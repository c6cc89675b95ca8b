"""Which of an expert's weights RI trains: all, the matrices, attention, the last blocks, or low-rank updates (LoRA)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch

from ri_analysis.encoder import Encoder
from ri_analysis.errors import InputError
from ri_analysis.hyperparameters import Value

Weights = dict[str, torch.nn.Parameter]
_AFTER_BLOCKS = ("ln_post.", "attn_pool", "proj")  # of open_clip's vision transformer


def trained_weights(encoder: Encoder, settings: Mapping[str, Value]) -> Weights:
    """Return the tower's weights that change under the setting `parameters`, by name.

    Raises InputError where the tower has none of that kind.
    """
    choice = str(settings["parameters"])
    weights = {name: item for name, item in encoder.module.named_parameters() if item.is_floating_point()}
    chosen = CHOICES[choice](encoder, weights, int(settings["blocks"]))
    if not chosen:
        raise InputError(f"parameters {choice!r}: {encoder.architecture.name} has no such weights; choose 'all'")
    return chosen


def _all(encoder: Encoder, weights: Weights, blocks: int) -> Weights:
    return weights


def _matrices(encoder: Encoder, weights: Weights, blocks: int) -> Weights:
    return {name: item for name, item in weights.items() if item.ndim == 2}


def _attention(encoder: Encoder, weights: Weights, blocks: int) -> Weights:
    return {name: item for name, item in weights.items() if ".attn." in name}


def _last_blocks(encoder: Encoder, weights: Weights, blocks: int) -> Weights:
    name, depth = encoder.architecture.name, len(encoder.blocks)
    if not encoder.in_halves:
        raise InputError(f"parameters 'last-blocks': expected open_clip's vision transformer, found {name}")
    if blocks > depth:
        raise InputError(f"blocks: {name} has {depth} blocks, found {blocks}")
    last = {id(item) for block in encoder.blocks[depth - blocks :] for item in block.parameters()}
    return {key: item for key, item in weights.items() if id(item) in last or key.startswith(_AFTER_BLOCKS)}


def _block_matrices(encoder: Encoder, weights: Weights, blocks: int) -> Weights:
    """Return the attention and MLP matrices, which LoRA adapts."""
    inside = {id(item) for block in encoder.blocks for item in block.parameters()}
    return {name: item for name, item in _matrices(encoder, weights, blocks).items() if id(item) in inside}


CHOICES: Mapping[str, Callable[[Encoder, Weights, int], Weights]] = {
    "all": _all,
    "matrices": _matrices,
    "attention": _attention,
    "last-blocks": _last_blocks,
    "lora": _block_matrices,
}


class Direct:
    """Weights that the optimiser moves themselves."""

    def __init__(self, weights: Weights) -> None:
        self.variables: Weights = weights

    def gather(self) -> None:
        """Turn the gradients of the weights into those of the variables."""

    def apply(self) -> None:
        """Set the weights to what the variables say."""


class LowRank:
    """Weights W₀ + B·A that move only through B (rows, r), at first 0, and A (r, columns), at first random.

    A's entries have variance 1/r, so that a step moves W about as far as the same learning rate would move it directly.
    The tower always holds the sum: what is written is an ordinary expert.
    """

    def __init__(self, weights: Weights, rank: int, seed: Sequence[int]) -> None:
        device = next(iter(weights.values())).device
        number = int(np.random.SeedSequence(seed).generate_state(1)[0])
        draw = partial(torch.randn, generator=torch.Generator().manual_seed(number))
        self._weights = weights
        self._start = {name: item.detach().clone() for name, item in weights.items()}
        self.variables: Weights = {}
        for name, item in weights.items():
            rows, columns = item.shape
            self.variables[f"{name}.B"] = torch.nn.Parameter(torch.zeros(rows, rank, device=device))
            self.variables[f"{name}.A"] = torch.nn.Parameter((draw(rank, columns) / rank**0.5).to(device))

    def gather(self) -> None:
        """See Direct."""
        for name, weight in self._weights.items():
            left, right, gradient = *self._factors(name), weight.grad
            assert gradient is not None  # every block's matrices take part in the loss
            left.grad, right.grad = gradient @ right.detach().T, left.detach().T @ gradient
            weight.grad = None

    @torch.no_grad()
    def apply(self) -> None:
        """See Direct."""
        for name, weight in self._weights.items():
            left, right = self._factors(name)
            torch.addmm(self._start[name], left, right, out=weight.data)

    def _factors(self, name: str) -> tuple[torch.nn.Parameter, torch.nn.Parameter]:
        return self.variables[f"{name}.B"], self.variables[f"{name}.A"]


def variables(weights: Weights, settings: Mapping[str, Value], seed: Sequence[int]) -> Direct | LowRank:
    """Return what the optimiser moves, given the weights to train."""
    return LowRank(weights, int(settings["rank"]), seed) if settings["parameters"] == "lora" else Direct(weights)
