"""The plane θ₀ + α₁τ₁ + α₂τ₂ of two experts: where do they stop disturbing each other?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.measurement import Request
from ri_analysis.engine.models import combined_model
from ri_analysis.errors import InputError
from ri_analysis.measures.disentanglement import disentanglement_table
from ri_analysis.progress import Progress
from ri_analysis.suite import ORIGINAL

ALPHAS = tuple(float(alpha) for alpha in np.linspace(-1, 2, 13))
PLANE_LIMIT = 64  # images a task


def pair_plane(
    evaluator: Evaluator,
    pair: tuple[str, str],
    experts: str = ORIGINAL,
    *,
    alphas: Sequence[float] = ALPHAS,
    limit: int | None = PLANE_LIMIT,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return the weight disentanglement error over a square grid of two experts' coefficients.

    See `disentanglement_table`. Each grid point is kept as soon as it is known, so a cancelled run goes on where it
    stopped. Raises InputError when both experts are the same.
    """
    if pair[0] == pair[1]:
        raise InputError(f"the plane needs two different experts, found {pair[0]!r} twice")

    def request(amounts: dict[str, float], tasks: tuple[str, ...]) -> Request:
        return Request(combined_model(evaluator.suite, amounts, experts), evaluator.sections(tasks), limit)

    first, second = pair
    axes = {(alpha, place): request({task: alpha}, (task,)) for place, task in enumerate(pair) for alpha in alphas}
    grid = {(one, two): request({first: one, second: two}, pair) for one in alphas for two in alphas}
    found = evaluator.measurement.outcomes([*axes.values(), *grid.values()], progress)
    own, joint = dict(zip(axes, found, strict=False)), dict(zip(grid, found[len(axes) :], strict=True))
    return disentanglement_table(
        {
            point: {
                task: own[point[place], place][task].predicted != outcomes[task].predicted
                for place, task in enumerate(pair)
            }
            for point, outcomes in joint.items()
        }
    )
