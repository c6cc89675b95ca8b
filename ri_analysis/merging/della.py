"""DELLA: drop entries at random, small ones rather than large ones, elect a sign and fuse what agrees."""

from __future__ import annotations

import torch

from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging.dare import generator
from ri_analysis.merging.method import Method, scale
from ri_analysis.task_vectors import Layer

_MOST = 0.99  # no entry is dropped more often, or what stays of it would be enlarged without limit


def prune_and_fuse(layer: Layer, *, drop: float, spread: float, merge: str, seed: int) -> torch.Tensor:
    """Return the merged task vector of one layer.

    Of the pruned task vectors, the sign of their sum is elected entry by entry (a sum of 0 is positive); entries that
    agree with it are averaged over the experts they are left of, or added.
    """
    return prune(layer, drop, spread, seed).map(lambda piece: _fuse(piece, merge))


def _fuse(deltas: torch.Tensor, merge: str) -> torch.Tensor:
    agrees = torch.where(deltas.sum(dim=0) >= 0, deltas > 0, deltas < 0)
    total = (deltas * agrees).sum(dim=0)
    return total if merge == "sum" else total / agrees.sum(dim=0).clamp(min=1)


def prune(layer: Layer, drop: float, spread: float, seed: int) -> Layer:
    """Return `layer` with entries of its deltas set to 0 at random (MagPrune), the others over the chance to stay.

    See `drop_rates` for the chances. The draw is DARE's: with `spread` 0 the result is what DARE makes of the layer.
    """
    deltas = torch.empty(layer.count, *layer.pretrained.shape)
    for number, (delta, row) in enumerate(zip(layer.each(), deltas, strict=True)):
        rates = drop_rates(delta, drop, spread)
        torch.rand(row.shape, generator=generator(seed, layer.name, number), out=row)
        torch.mul(delta, row >= rates, out=row)
        row.div_(1.0 - rates)
    return Layer(layer.name, layer.pretrained, deltas)


def drop_rates(delta: torch.Tensor, drop: float, spread: float) -> torch.Tensor:
    """Return the probability with which each entry of a task vector is dropped, in its shape.

    In every row (all that leads to one output; a vector is one row), it falls from drop + spread for the smallest
    magnitude to drop − spread for the largest, evenly by rank, within [0, 0.99]. Of equal magnitudes the first counts
    as smaller.
    """
    rows = delta.reshape(len(delta) if delta.ndim > 1 else 1, -1)
    width = rows.shape[1]
    steps = torch.linspace(spread, -spread, width) if width > 1 else torch.zeros(1)
    order = rows.abs().argsort(dim=1, stable=True)
    rates = torch.empty_like(rows).scatter_(1, order, (drop + steps).clamp_(0.0, _MOST).expand_as(rows))
    return rates.view_as(delta)


METHOD = Method(
    name="della",
    title="DELLA",
    summary="Drops entries of every task vector at random, the smaller ones of each row more often, scales up the rest "
    "to compensate, elects a sign for every weight and averages the entries that agree.",
    formula=r"\tilde\tau_t = \frac{m_t \odot \tau_t}{1-p_t},\ m_t \sim \operatorname{Bernoulli}(1-p_t),\ "
    r"p_t = p + \varepsilon\Big(1 - 2\,\tfrac{\operatorname{rank}|\tau_t| - 1}{n - 1}\Big),\quad \theta_m = \theta_0 + "
    r"\lambda \operatorname*{mean}_{t:\,\operatorname{sgn}\tilde\tau_t = s} \tilde\tau_t,\ "
    r"s = \operatorname{sgn}\textstyle\sum_t \tilde\tau_t",
    reference="Deep et al. 2024, DELLA-Merging: reducing interference through magnitude-based sampling, "
    "arXiv 2406.11617",
    direction=prune_and_fuse,
    seeded=True,
    hyperparameters=(
        scale(1.0, sweep=(0.2, 2.0)),
        Hyperparameter(
            "drop",
            "mean probability that an entry is dropped",
            0.3,
            0.0,
            0.99,
            sweep=(0.1, 0.9),
            step=0.1,
            label="drop rate p",
        ),
        Hyperparameter(
            "spread",
            "how far the drop rate of a row's smallest entry is above p, and that of its largest below",
            0.07,
            0.0,
            0.5,
            sweep=(0.0, 0.3),
            step=0.01,
            label="spread of drop rates ε",
        ),
        Hyperparameter(
            "merge",
            "average the entries that agree (as the authors do) or add them (λ around 0.3)",
            "mean",
            choices=("mean", "sum"),
            titles=("mean of agreeing entries", "sum of agreeing entries"),
            label="merged entries",
        ),
    ),
)
