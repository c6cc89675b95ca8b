"""What fine-tuning changed: how much in each block, and whether experts changed the same way."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ri_analysis.analyses.analysis import Analysis, Answer, Columns, Limit, Options
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.gram import Gram, task_vector_gram
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.experts import HOW_COSINES, OUTSIDE, cosine_matrices, norms_by_block
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Progress

_BASED_ON = "Based on all weights of the vision tower; no images."
_NORMS = (
    "Brighter is longer: the length of an expert's task vector τ in a block, as a percentage of the length of the "
    f"pretrained weights there; “{OUTSIDE}” is everything outside the blocks."
)


def _measure(evaluator: Evaluator, recipe: MergeRecipe, _: Options, __: Limit, progress: Progress | None) -> Gram:
    return task_vector_gram(evaluator.suite, evaluator.store, recipe.experts, recipe.tasks, progress)


def _tables(answer: Answer[Gram]) -> dict[str, pd.DataFrame]:
    return {
        "task-vector-norms": answer.stacked(Gram.norm_table),
        "task-vector-cosines": answer.stacked(Gram.cosine_table),
    }


def _charts(answer: Answer[Gram], dark: bool) -> dict[str, Chart]:
    norms = norms_by_block(answer.results.map(Gram.norm_table), dark=dark)
    drawn = {"task-vector-norms": Chart(norms, _NORMS, "How far each block was moved", n=_BASED_ON)}
    if len(answer.tasks) > 1:
        cosines = cosine_matrices(answer.results.map(Gram.cosine_table), dark=dark)
        drawn["task-vector-cosines"] = Chart(cosines, HOW_COSINES, "Do they point the same way?", n=_BASED_ON)
    return drawn


def _says(answer: Answer[Gram]) -> str:
    said = []
    for name, gram in answer.results.stages.items():
        shares, _, _ = gram.place()
        said.append(f"{name} RI **{100 * np.mean(shares):.1f}%**")
    return f"Mean length of a task vector, relative to that of the pretrained weights: {', '.join(said)}."


ANALYSIS = Analysis(
    name="task-vectors",
    title="What fine-tuning changed",
    question="How far did fine-tuning move each block, and did two experts move the same way?",
    formula=r"""The length of a task vector $\tau_t=\theta_t-\theta_0$ in a block, relative to the block's pretrained
weights, $\lVert\tau_t\rVert/\lVert\theta_0\rVert$, and $\cos(\tau_i,\tau_j)$ over all weights.""",
    measure=_measure,
    of_merge=False,
    limits=(),
    tables=_tables,
    charts=_charts,
    says=_says,
    columns={
        "task-vector-norms": Columns(
            "an expert set, a task and a transformer block",
            {
                "experts": "",
                "task": "",
                "block": "1 is the first, 0 is everything outside the blocks",
                "norm": "‖τ‖ there",
                "share": "‖τ‖ / ‖θ₀‖ there",
            },
        ),
        "task-vector-cosines": Columns(
            "an expert set and an ordered pair of experts",
            {"experts": "", "expert": "one of them", "other": "the other", "cosine": "of their task vectors"},
        ),
    },
    page="experts",
    place=10,
)
