"""Cross-task interference ξ and crosstalk, from per-image divergences in nats."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis.intervals import Interval, bootstrap_mean

Nats = npt.NDArray[np.floating]


def interference_table(divergence: Mapping[str, Nats], seed: int = 0) -> pd.DataFrame:
    """Return ξ_t per task with bootstrap intervals (Ramesh et al. 2026, section 3).

    `divergence` maps task t to KL( h_t f(x; θ_t) ‖ h_t f(x; θ_m) ) of its n images, θ_t the original expert. Columns:
    `task`, `interference` (mean, nats), `interference_low`, `interference_high`, `n`.
    """
    rows = []
    for task, values in divergence.items():
        low, high = bootstrap_mean([values], seed=seed)
        mean = float(np.mean(values, dtype=np.float64))
        rows.append(
            {
                "task": task,
                "interference": mean,
                "interference_low": low,
                "interference_high": high,
                "n": len(values),
            }
        )
    return pd.DataFrame(rows)


def mean_interference(divergence: Mapping[str, Nats], seed: int = 0) -> tuple[float, Interval]:
    """Return the mean over tasks of ξ_t, and its bootstrap interval. The paper's ξ is their sum: N times this."""
    means = [float(np.mean(values, dtype=np.float64)) for values in divergence.values()]
    return float(np.mean(means)), bootstrap_mean(list(divergence.values()), seed=seed)


def crosstalk_table(divergence: Mapping[tuple[str, str], Nats], seed: int = 0) -> pd.DataFrame:
    """Return C[i→t], how far expert i alone moves task t's outputs from the pretrained model's.

    `divergence` maps (expert i, task t) to KL( h_t f(x; θ₀) ‖ h_t f(x; θ_i) ) of task t's images. The diagonal is what
    an expert learned, not interference. Columns: `expert`, `task`, `crosstalk` (mean, nats), `crosstalk_low`,
    `crosstalk_high`, `n`.
    """
    rows = []
    for (expert, task), values in divergence.items():
        low, high = bootstrap_mean([values], seed=seed)
        mean = float(np.mean(values, dtype=np.float64))
        rows.append(
            {
                "expert": expert,
                "task": task,
                "crosstalk": mean,
                "crosstalk_low": low,
                "crosstalk_high": high,
                "n": len(values),
            }
        )
    return pd.DataFrame(rows)


def off_diagonal_mean(crosstalk: pd.DataFrame) -> float:
    """Return the mean crosstalk over all pairs of an expert and another task; NaN with one task."""
    return float(crosstalk.loc[crosstalk["expert"] != crosstalk["task"], "crosstalk"].mean())
