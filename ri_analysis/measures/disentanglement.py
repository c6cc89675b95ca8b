"""The weight disentanglement error over the plane of two experts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis.intervals import bootstrap_mean

Flags = npt.NDArray[np.bool_]


def disentanglement_table(
    disagrees: Mapping[tuple[float, float], Mapping[str, Flags]], seed: int = 0, resamples: int = 200
) -> pd.DataFrame:
    """Return ξ(α₁, α₂), the sum over two tasks of their shares of images on which the models disagree.

    `disagrees` maps (α₁, α₂) to, for each task t, whether argmax h_t f(x; θ₀+α_tτ_t) differs from argmax
    h_t f(x; θ₀+α₁τ₁+α₂τ₂), (n_t,) bool. Ortiz-Jimenez et al. 2023, arXiv 2305.12827, equation 5. Columns: `alpha_1`,
    `alpha_2`, `error` in [0, 2], `error_low`, `error_high`, one column `<task>` each with the task's share, `n`.
    """
    rows = []
    for (first, second), flags in disagrees.items():
        shares = {task: float(each.mean()) for task, each in flags.items()}
        low, high = bootstrap_mean([each.astype(np.float64) for each in flags.values()], seed=seed, resamples=resamples)
        row: dict[str, object] = {"alpha_1": first, "alpha_2": second, "error": sum(shares.values())}
        row |= {"error_low": len(flags) * low, "error_high": len(flags) * high}
        rows.append(row | shares | {"n": sum(len(each) for each in flags.values())})
    return pd.DataFrame(rows)
