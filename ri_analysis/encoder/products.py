"""Float32 layers by oneDNN, on processors for which MKL, PyTorch's own choice, is slow: those of other makers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

FASTER = 1.3  # times that oneDNN must be; where it pays, about twice


class OneDNN(TorchFunctionMode):
    """Has layers y = W·x + b of float32 on the CPU, and their gradients, computed by oneDNN: equal up to rounding."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See TorchFunctionMode."""
        if func is torch.nn.functional.linear:
            inputs, weight, bias = (*args, (kwargs or {}).get("bias"))[:3]
            if inputs.dtype == weight.dtype == torch.float32:
                return _Layer.apply(inputs, weight, bias)
        return func(*args, **(kwargs or {}))


class _Layer(torch.autograd.Function):
    """y = W·x + b of inputs (…, columns) and W (rows, columns)."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """See torch.autograd.Function."""
        ctx.save_for_backward(inputs, weight)
        return _layer(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """See torch.autograd.Function."""
        inputs, weight = ctx.saved_tensors
        of_inputs, of_weight, of_bias = ctx.needs_input_grad
        rows = gradient.flatten(0, -2)
        return (
            _layer(gradient, weight.T.contiguous()) if of_inputs else None,
            _layer(rows.T.contiguous(), inputs.flatten(0, -2).T.contiguous()) if of_weight else None,
            rows.sum(dim=0) if of_bias else None,
        )


def _layer(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return found


@cache
def pays() -> bool:
    """Whether float32 layers are faster by oneDNN on this machine; asked of it once, in some tens of milliseconds."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    inputs, weight = torch.ones(1024, 768), torch.ones(768, 768)
    ways = (torch.nn.functional.linear, _layer)
    slow, fast = (min(_seconds(lambda: way(inputs, weight)) for _ in range(4)) for way in ways)  # noqa: B023
    return slow > FASTER * fast


def _seconds(work: Callable[[], object]) -> float:
    began = time.thread_time()  # which other work on the machine does not change
    work()
    return time.thread_time() - began
