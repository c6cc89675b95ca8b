"""Random experts, and a method run on them without the streaming around it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from ri_analysis.hyperparameters import complete
from ri_analysis.merging import METHODS, find_method
from ri_analysis.task_vectors import Layer, TaskVectors

BLOCK = "visual.transformer.resblocks.0."
MATRIX = BLOCK + "mlp.c_fc.weight"
SHAPES = [(24, 60), (60, 24), (32, 32)]
COUNTS = [2, 3, 8, 20]
WITHOUT_DATA = [name for name, method in METHODS.items() if method.statistic is None]
matrices = pytest.mark.parametrize("shape", SHAPES, ids=["wide", "tall", "square"])
counts = pytest.mark.parametrize("count", COUNTS)


def layer(shape: Sequence[int], count: int, *, seed: int = 0, name: str = MATRIX) -> Layer:
    generator = torch.Generator().manual_seed(seed)
    return Layer(
        name,
        torch.randn(tuple(shape), generator=generator),
        0.1 * torch.randn((count, *shape), generator=generator),
    )


def model(count: int, *, seed: int = 0) -> list[Layer]:
    """Layers of every kind a vision tower has."""
    shapes = {
        "visual.class_embedding": (24,),
        "visual.conv1.weight": (24, 3, 4, 4),
        BLOCK + "ln_1.weight": (24,),
        BLOCK + "attn.in_proj_weight": (72, 24),
        MATRIX: (40, 24),
        BLOCK + "mlp.c_proj.weight": (24, 40),
        "visual.proj": (24, 16),
    }
    return [layer(shape, count, seed=seed + n, name=name) for n, (name, shape) in enumerate(shapes.items())]


def run(method: str, layers: Sequence[Layer], seed: int = 0, **settings: object) -> list[torch.Tensor]:
    """The method's merged task vectors of these layers."""
    found = find_method(method)
    options = {key: v for key, v in complete(found.hyperparameters, settings, method).items() if key != "scale"}
    if found.seeded:
        options["seed"] = seed
    if found.gather is not None:
        options["gathered"] = found.gather(lambda: iter(layers), **options)
    merged = [found.direction(item, **options) for item in layers]
    for item, result in zip(layers, merged, strict=True):
        assert result.shape == item.pretrained.shape
        assert result.dtype == torch.float32
        assert torch.isfinite(result).all()
    return merged


def flat(layers: Sequence[Layer]) -> torch.Tensor:
    """The T×P matrix of the task vectors, float64."""
    return torch.cat([item.deltas.flatten(1) for item in layers], dim=1).double()


def joined(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def assert_close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    """Relative error in the Euclidean norm."""
    difference = torch.linalg.vector_norm(found.double() - expected.double())
    assert float(difference) <= tolerance * float(torch.linalg.vector_norm(expected.double()))


def task_vectors(
    experts: dict[str, dict[str, torch.Tensor]] | None = None, *, count: int = 3, dtype: torch.dtype = torch.float32
) -> TaskVectors:
    """Task vectors of the model above with an integer buffer; tasks are called a, b, c …"""
    layers = model(count)
    pretrained = {item.name: item.pretrained for item in layers} | {"visual.steps": torch.tensor([7])}
    if experts is None:
        experts = {
            task: {item.name: (item.pretrained + item.deltas[n]).to(dtype) for item in layers}
            | {"visual.steps": torch.tensor([n])}
            for n, task in enumerate("abcdefgh"[:count])
        }
    return TaskVectors(pretrained, experts)
