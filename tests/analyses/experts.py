"""Experts made so that the right answers are known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tiny import TASKS

from ri_analysis.engine import Evaluator
from ri_analysis.suite import open_suite

Tensors = dict[str, torch.Tensor]


def pretrained(suite: Path) -> Tensors:
    tensors = load_file(suite.parent / "pretrained.safetensors")
    return {name: tensor for name, tensor in tensors.items() if name.startswith("visual.")}


def with_experts(suite: Path, make: Callable[[str, Tensors], Tensors]) -> Evaluator:
    """Replace every original expert by what `make` returns for (task, pretrained tensors)."""
    start = pretrained(suite)
    for task in TASKS:
        tensors = make(task, {name: tensor.clone() for name, tensor in start.items()})
        path = suite.parent / "original" / f"{task}.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    workspace = suite.parent / "workspace"
    return Evaluator(open_suite(str(suite), workspace), workspace, "cpu")


def noise(tensors: Tensors, size: float, seed: int, only: str = "") -> Tensors:
    """Add noise of standard deviation `size` to every tensor whose name holds `only`."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: tensor + size * torch.randn(tensor.shape, generator=generator) if only in name else tensor
        for name, tensor in tensors.items()
    }


def rotation(width: int, first: int, second: int, angle: float) -> torch.Tensor:
    """A rotation in the plane of two coordinates."""
    matrix, turn = torch.eye(width), torch.tensor(angle)
    matrix[first, first] = matrix[second, second] = turn.cos()
    matrix[first, second], matrix[second, first] = turn.sin(), -turn.sin()
    return matrix
