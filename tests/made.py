"""Outcomes put together by hand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ri_analysis.engine.outcomes import Outcome, Outcomes


def outcomes(
    correct: Mapping[str, npt.NDArray[np.bool_]],
    divergence: Mapping[str, npt.NDArray[np.floating]] | None = None,
    rows: Mapping[str, npt.NDArray[np.int64]] | None = None,
) -> Outcomes:
    """Return outcomes that are right and drift as told, on the first images unless `rows` says which."""
    return Outcomes(
        {
            name: Outcome(
                np.arange(len(flags)) if rows is None else rows[name],
                np.asarray(flags).astype(np.int32),
                np.ones(len(flags), np.int64),
                None if divergence is None or name not in divergence else divergence[name].astype(np.float32),
            )
            for name, flags in correct.items()
        }
    )
