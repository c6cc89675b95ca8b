"""TSV-M: merge the task singular vectors after making them orthogonal."""

from __future__ import annotations

import numpy as np
import torch

from ri_analysis.merging.averaging import average
from ri_analysis.merging.factorisation import as_matrix, as_tensor, orthogonalised_product, truncated_svd
from ri_analysis.merging.method import Method, scale
from ri_analysis.task_vectors import Layer


def merge_singular_vectors(layer: Layer) -> torch.Tensor:
    """Return the merged task vector of one layer: U⊥ diag(S) V⊥ᵀ of a matrix, the mean of anything else.

    Each τ_t keeps its k = max(1, ⌊r/T⌋) largest singular triples; U, S and V are laid side by side over the tasks
    and U, V replaced by their polar factors. Directions that several experts share exactly (repeated experts) are
    merged into one; those below ε·σ₁ of an expert are dropped, see `factorisation`.
    """
    if not layer.is_matrix:
        return average(layer)
    rank = max(1, min(layer.pretrained.shape) // layer.count)
    parts = [truncated_svd(as_matrix(delta), rank) for delta in layer.each()]
    u, s, v = (np.concatenate(side, axis=-1) for side in zip(*parts, strict=True))
    return as_tensor(orthogonalised_product(u, s, v))


METHOD = Method(
    name="tsv-m",
    title="TSV-M",
    summary="Keeps each expert's leading singular directions of every weight matrix and makes the experts' "
    "directions orthogonal to each other before adding them.",
    formula=r"\theta_m = \theta_0 + \lambda\, U_\perp \operatorname{diag}(S)\, V_\perp^\top,\quad "
    r"U = [U_1 \dots U_T],\ \tau_t \approx U_t \operatorname{diag}(S_t) V_t^\top \text{ of rank } \lfloor r/T \rfloor",
    reference="Gargiulo et al. 2025, Task Singular Vectors, arXiv 2412.00081",
    direction=merge_singular_vectors,
    hyperparameters=(scale(1.0, sweep=(0.2, 2.0)),),
)
