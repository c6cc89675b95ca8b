"""Which of a tower's weights are trained: all, the matrices, attention, the last blocks, or low-rank updates (LoRA)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from ri_analysis.encoder import Encoder
from ri_analysis.encoder.architecture import LARGE
from ri_analysis.errors import InputError
from ri_analysis.hyperparameters import Value
from ri_analysis.training.settings import PARAMETERS

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


_KINDS = (_all, _matrices, _attention, _last_blocks, _block_matrices)
CHOICES: Mapping[str, Callable[[Encoder, Weights, int], Weights]] = dict(zip(PARAMETERS.choices, _KINDS, strict=True))


class Direct:
    """Weights that the optimiser moves themselves."""

    def __init__(self, weights: Weights) -> None:
        self.variables: Weights = weights

    def differentiated(self) -> AbstractContextManager[None]:
        """Return the context in which the loss and its gradient are computed."""
        return nullcontext()

    def gather(self) -> None:
        """Turn the gradients of the weights into those of the variables."""

    def apply(self) -> None:
        """Set the weights to what the variables say."""


class LowRank:
    """Weights W₀ + B·A that move only through B (rows, r), at first 0, and A (r, columns), at first random.

    A's entries have variance 1/r, so that a step moves W about as far as the same learning rate would move it directly.
    The tower always holds the sum: what is written is an ordinary expert. In a large one, the MLP's layers y = W·x give
    the gradients of A and B without that of W, which would cost as much as the pass forward; small ones stay as they
    were, to the bit.
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

    def differentiated(self) -> AbstractContextManager[None]:
        """See Direct."""
        if sum(weight.numel() for weight in self._weights.values()) < LARGE:
            return nullcontext()
        return _FactorGradients({id(weight): self._factors(name) for name, weight in self._weights.items()})

    def gather(self) -> None:
        """See Direct."""
        for name, weight in self._weights.items():
            left, right, gradient = *self._factors(name), weight.grad
            if gradient is not None:  # of where a weight is used otherwise than as a layer
                for factor, found in ((left, gradient @ right.detach().T), (right, left.detach().T @ gradient)):
                    factor.grad = found if factor.grad is None else factor.grad + found
            weight.grad = None

    @torch.no_grad()
    def apply(self) -> None:
        """See Direct."""
        for name, weight in self._weights.items():
            left, right = self._factors(name)
            torch.addmm(self._start[name], left, right, out=weight.data)

    def _factors(self, name: str) -> tuple[torch.nn.Parameter, torch.nn.Parameter]:
        return self.variables[f"{name}.B"], self.variables[f"{name}.A"]


class _FactorGradients(TorchFunctionMode):
    """Has the layers of some weights, by identity, give gradients to their factors (B, A) and not to the weights.

    Attention, which PyTorch computes in one call, gives them to the weights.
    """

    def __init__(self, factors: Mapping[int, tuple[torch.Tensor, torch.Tensor]]) -> None:
        super().__init__()
        self._factors = factors

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See TorchFunctionMode."""
        if func is not torch.nn.functional.linear or len(args) < 2 or id(args[1]) not in self._factors:
            return func(*args, **(kwargs or {}))
        inputs, weight, bias = (*args, (kwargs or {}).get("bias"))[:3]
        kind = inputs.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else inputs.dtype
        given = (inputs, weight.detach(), *self._factors[id(weight)], bias)
        return _FactoredLayer.apply(*(item if item is None else item.to(dtype) for item in given))


class _FactoredLayer(torch.autograd.Function):
    """y = W·x + b of inputs (…, columns), W (rows, columns), whose gradient goes to x, B (rows, r) and A (r, columns).

    With g the gradient of y and dW = gᵀx: dB = dW·Aᵀ = gᵀ(x·Aᵀ), dA = Bᵀ·dW = (g·B)ᵀx.
    """

    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,
        weight: torch.Tensor,
        left: torch.Tensor,
        right: torch.Tensor,
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        """See torch.autograd.Function."""
        ctx.save_for_backward(inputs, weight, left, right)
        return torch.nn.functional.linear(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """See torch.autograd.Function."""
        inputs, weight, left, right = ctx.saved_tensors
        rows, columns = gradient.flatten(0, -2), inputs.flatten(0, -2)
        entering = gradient @ weight if ctx.needs_input_grad[0] else None
        return entering, None, rows.T @ (columns @ right.T), (rows @ left).T @ columns, None


def variables(weights: Weights, settings: Mapping[str, Value], seed: Sequence[int]) -> Direct | LowRank:
    """Return what the optimiser moves, given the weights to train."""
    return LowRank(weights, int(settings["rank"]), seed) if settings["parameters"] == "lora" else Direct(weights)
