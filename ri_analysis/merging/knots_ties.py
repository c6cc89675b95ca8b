"""KnOTS-TIES: align the task vectors in one singular basis, then merge them there by TIES."""

from __future__ import annotations

import torch

from ri_analysis.merging import ties
from ri_analysis.merging.factorisation import as_matrix, as_tensor, left_singular_vectors
from ri_analysis.merging.method import Method, scale
from ri_analysis.task_vectors import Layer
from ri_analysis.threads import one_thread

_FLOOR = 1e-5


def align_and_merge(layer: Layer, *, density: float, merge: str) -> torch.Tensor:
    """Return the merged task vector of one layer.

    [τ_1 … τ_T] side by side = U diag(S) Vᵀ; Vᵀ is cut into its tasks' blocks V_tᵀ, TIES merges the diag(S)V_tᵀ, and
    U maps the result back. Singular values up to 1e-5 are dropped. TIES trims within the layer; a tensor that is not
    a matrix is merged by TIES as it is.
    """
    if not layer.is_matrix:
        return _ties(layer.deltas, density, merge)
    u, s = left_singular_vectors(list(layer.deltas))
    u = u[:, s > _FLOOR]
    if u.shape[1] == 0:
        return torch.zeros_like(layer.pretrained)
    with one_thread:
        aligned = torch.stack([as_tensor(u.T @ as_matrix(delta)) for delta in layer.deltas])  # diag(S)V_tᵀ = Uᵀτ_t
        return as_tensor(u @ as_matrix(_ties(aligned, density, merge)))


def _ties(deltas: torch.Tensor, density: float, merge: str) -> torch.Tensor:
    layer = Layer("", deltas[0], deltas)
    election = ties.gather(lambda: iter((layer,)), density=density, merge=merge)
    return ties.elect_and_merge(layer, gathered=election, density=density, merge=merge)


METHOD = Method(
    name="knots-ties",
    title="KnOTS-TIES",
    summary="Expresses the task vectors of every weight matrix in one common singular basis and merges them there by "
    "TIES. Made for LoRA experts.",
    formula=r"[\tau_1 \dots \tau_T] = U \Sigma [V_1^\top \dots V_T^\top],\quad "
    r"\theta_m = \theta_0 + \lambda\, U \operatorname{TIES}(\Sigma V_1^\top \dots \Sigma V_T^\top)",
    reference="Stoica et al. 2025, Model merging with SVD to tie the KnOTS, arXiv 2410.19735",
    direction=align_and_merge,
    hyperparameters=(
        scale(0.3, sweep=(0.1, 1.5)),
        *(item for item in ties.METHOD.hyperparameters if item.name != "scale"),
    ),
)
