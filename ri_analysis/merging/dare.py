"""DARE: drop entries of the task vectors at random and rescale the rest."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

import torch

from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging import ties
from ri_analysis.merging.method import Method, Walk, scale
from ri_analysis.task_vectors import Layer


def gather(walk: Walk, *, drop: float, base: str, density: float, seed: int) -> ties.Election | None:
    """Find what TIES needs to know of the thinned task vectors; nothing for Task Arithmetic."""
    if base == "task-arithmetic":
        return None

    def thinned() -> Iterator[Layer]:
        return (thin(layer, drop, seed) for layer in walk())

    return ties.gather(thinned, density=density, merge="sum")


def drop_and_merge(
    layer: Layer, *, gathered: ties.Election | None, drop: float, base: str, density: float, seed: int
) -> torch.Tensor:
    """Return the sum of the thinned task vectors of one layer, or what TIES (sum) makes of them."""
    thinned = thin(layer, drop, seed)
    if gathered is None:
        return thinned.deltas.sum(dim=0)
    return ties.elect_and_merge(thinned, gathered=gathered, density=density, merge="sum")


def thin(layer: Layer, drop: float, seed: int) -> Layer:
    """Return `layer` with each entry of its deltas set to 0 with probability `drop`, the others over 1 − drop.

    The draw depends on the seed, the tensor's name and the expert's place in the recipe alone, so it is the same in
    every pass and in any order of layers.
    """
    deltas = torch.empty_like(layer.deltas)
    for number, (delta, row) in enumerate(zip(layer.deltas, deltas, strict=True)):
        torch.rand(row.shape, generator=generator(seed, layer.name, number), out=row)
        torch.mul(delta, row >= drop, out=row)
    return Layer(layer.name, layer.pretrained, deltas.div_(1.0 - drop))


def generator(seed: int, name: str, expert: int) -> torch.Generator:
    """Return what draws for one tensor of one expert: see `thin`."""
    key = blake2b(f"{seed}/{expert}/{name}".encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(key, "little"))


METHOD = Method(
    name="dare",
    title="DARE",
    summary="Drops a random share of the entries of every task vector, scales up the rest to compensate, and merges by "
    "Task Arithmetic or TIES.",
    formula=r"\tilde\tau_t = \frac{m_t \odot \tau_t}{1-p},\ m_t \sim \operatorname{Bernoulli}(1-p),\quad "
    r"\theta_m = \theta_0 + \lambda \operatorname{merge}(\tilde\tau_1 \dots \tilde\tau_T)",
    reference="Yu et al. 2024, Language models are super Mario, arXiv 2311.03099",
    direction=drop_and_merge,
    gather=gather,
    passes=2,
    seeded=True,
    hyperparameters=(
        scale(0.3),
        Hyperparameter(
            "drop",
            "probability that an entry is dropped",
            0.5,
            0.0,
            0.99,
            sweep=(0.1, 0.9),
            step=0.1,
            label="drop rate p",
        ),
        Hyperparameter(
            "base",
            "how the thinned task vectors are merged",
            "task-arithmetic",
            choices=("task-arithmetic", "ties"),
            titles=("merged by Task Arithmetic", "merged by TIES"),
            label="thinned task vectors",
        ),
        Hyperparameter(
            "density",
            "share of each expert's entries that TIES keeps; Task Arithmetic keeps all",
            0.2,
            0.001,
            1.0,
            sweep=(0.05, 1.0),
            step=0.05,
            label="TIES density",
        ),
    ),
)
