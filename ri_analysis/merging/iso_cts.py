"""Iso-CTS: isotropic merging in common and task-specific subspaces."""

from __future__ import annotations

import numpy as np
import torch

from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging.averaging import average
from ri_analysis.merging.factorisation import (
    EPSILON,
    SVD,
    Matrix,
    as_matrix,
    as_tensor,
    orthonormalised,
    orthonormalised_product,
    truncated_svd,
    truncated_svd_outside,
)
from ri_analysis.merging.method import Method, scale
from ri_analysis.task_vectors import Layer
from ri_analysis.threads import one_thread


def merge_subspaces(layer: Layer, *, common: float) -> torch.Tensor:
    """Return mean(S)·U⊥V⊥ᵀ for a matrix, the mean of anything else.

    U, S, V hold the leading k_c singular triples of Στ and, of each τ_t with the columns of U_c projected out on the
    left, the leading n; k_c + nT = r. Directions below ε·σ₁ are dropped, see `factorisation`; so are those in which
    less than ε·‖τ_t‖_F is left after the projection.
    """
    if not layer.is_matrix:
        return average(layer)
    rank, tall = min(layer.pretrained.shape), layer.pretrained.shape[0] > layer.pretrained.shape[1]
    shared, own = _split(rank, layer.count, common)
    summed = as_matrix(layer.sum())
    total = truncated_svd(summed, shared if tall else rank)
    common_part = SVD(*(side[..., :shared] for side in total))
    own_parts = [_own_directions(as_matrix(delta), total.u, shared, own) for delta in layer.each() if own]
    u, s, v = (np.concatenate(side, axis=-1) for side in zip(*own_parts, common_part, strict=True))
    # The tasks' directions lie outside the common ones, so U is orthonormal once they are among themselves.
    count = u.shape[1] - common_part.u.shape[1]
    u[:, :count] = orthonormalised(u[:, :count])
    return as_tensor(orthonormalised_product(u * (s.sum() / rank), v))


def _split(rank: int, tasks: int, common: float) -> tuple[int, int]:
    """Return (k_c, n): how many directions are common and how many each task adds, k_c + n·tasks = rank."""
    own = min(round((rank - int(common * rank + 1e-9)) / tasks), rank // tasks)
    return rank - own * tasks, own


def _own_directions(delta: Matrix, u: Matrix, shared: int, own: int) -> SVD:
    """Return the `own` leading singular triples of τ_t − U_cU_cᵀτ_t, with U_c the first `shared` columns of u.

    u (m, r) has all left singular vectors of the sum for a wide τ_t, the common ones alone for a tall one.
    """
    floor = EPSILON * float(np.linalg.norm(delta))
    if delta.shape[0] > delta.shape[1]:
        return truncated_svd_outside(delta, u, own, floor)
    # u is a whole basis, so what is left of τ_t lies in its other columns: a few rows instead of all.
    rest = u[:, shared:]
    with one_thread:
        part = truncated_svd(rest.T @ delta, own, floor)
        return SVD(rest @ part.u, part.s, part.v)


METHOD = Method(
    name="iso-cts",
    title="Iso-CTS",
    summary="Iso-C on the strongest directions of the sum; the weakest are replaced by directions of single experts.",
    formula=r"\theta_m = \theta_0 + \lambda\,\bar\sigma\,U_\perp V_\perp^\top,\quad "
    r"U = [U_1 \dots U_T, U_c],\ U_t \text{ from } \tau_t - U_c U_c^\top \tau_t",
    reference="Marczak et al. 2025, No Task Left Behind: isotropic model merging, arXiv 2502.04959",
    direction=merge_subspaces,
    hyperparameters=(
        scale(1.0, sweep=(0.1, 3.0)),
        Hyperparameter(
            "common",
            "share of the directions taken from the sum of all experts",
            0.8,
            0.0,
            1.0,
            step=0.05,
            label="common share",
        ),
    ),
)
