"""The plane of two experts, on request."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ri_analysis.engine import Evaluator
from ri_analysis.engine.plane import ALPHAS, PLANE_LIMIT, pair_plane
from ri_analysis.figures import weights as figures
from ri_analysis.figures import words
from ri_analysis.progress import Progress
from ri_analysis.ui import background, frame, kept
from ri_analysis.ui.recipes import Pair


def plane_section(evaluator: Evaluator, pair: Pair) -> None:
    """Draw, on request, the weight disentanglement error over the plane of two experts."""
    tasks = pair.before.tasks
    if len(tasks) < 2:
        st.caption("The plane needs two experts.")
        return
    left, right = st.columns(2)
    first = kept.one_of(left.selectbox, "First expert", "interference.first", tasks, tasks[0])
    others = [task for task in tasks if task != first]
    second = kept.one_of(right.selectbox, "Second expert", "interference.second", others, others[0])
    chosen, sets = (first, second), [recipe.experts for recipe in pair.recipes]

    def work(other: Evaluator, progress: Progress) -> list[pd.DataFrame]:
        return [
            pair_plane(other, chosen, name, progress=background.parts(progress, place, len(sets)))
            for place, name in enumerate(sets)
        ]

    digests = tuple(evaluator.suite.expert(task, name).digest for name in sets for task in chosen)
    key = ("plane", str(evaluator.suite.spec.path), digests, chosen)
    note = f"{len(ALPHAS) ** 2} models for each set, measured on {words.count(PLANE_LIMIT, 'image')} a task."
    tables = background.on_request(key, "Draw the plane", f"Walking the plane of {first} and {second}", work, note)
    if tables is None:
        return
    chart = figures.plane(tables[0], tables[1] if len(tables) > 1 else None, chosen, dark=frame.dark())
    how = (
        "At each point the two experts are added with these coefficients; the error is the share of images, summed "
        "over both tasks, on which the sum predicts otherwise than the task's expert with its own coefficient alone. "
        "The wider the dark area around the crosses (neither, each alone, both), the less they interfere."
    )
    n = f"Rests on {words.count(int(tables[0]['n'].max()), 'image')} a point; one scale."
    frame.figure(chart, how, pair.stacked(tables), n, "plane")
