"""Weight space on a page: cosines, collisions per layer, and whether they foretell crosstalk."""

from __future__ import annotations

import streamlit as st

from ri_analysis.engine import Evaluator
from ri_analysis.engine.geometry import Geometry, weight_geometry
from ri_analysis.figures import weights as figures
from ri_analysis.figures import words
from ri_analysis.figures.experts import cosine_matrices
from ri_analysis.progress import Progress
from ri_analysis.ui import background, crosstalk, frame, kept, resources
from ri_analysis.ui.recipes import Pair

_QUICK = 5_000_000  # parameters up to which the weight space is worked out unasked


def weight_space(evaluator: Evaluator, pair: Pair) -> None:
    """Draw cosines of task vectors, singular task interference per layer, and overlap against crosstalk."""
    tasks = pair.before.tasks
    if len(tasks) < 2:
        st.caption("With one expert there is nothing to compare.")
        return
    sets = [recipe.experts for recipe in pair.recipes]
    digests = tuple(tuple(evaluator.suite.weight_digests(name).items()) for name in sets)
    key = ("weights", str(evaluator.suite.spec.path), digests, tasks)
    if resources.memory().get(key) is None and evaluator.suite.task_vectors().size <= _QUICK:
        found = [weight_geometry(evaluator, name, tasks=tasks) for name in sets]
        resources.memory().put(key, found)

    def work(other: Evaluator, progress: Progress) -> list[Geometry]:
        return [
            weight_geometry(other, name, tasks=tasks, progress=background.parts(progress, place, len(sets)))
            for place, name in enumerate(sets)
        ]

    note = "Every weight matrix of every expert is decomposed once; the answer is kept."
    found = background.on_request(key, "Compare the weights", "Comparing the weights", work, note)
    if found is not None:
        _draw_weights(evaluator, pair, found)


@st.fragment
def _draw_weights(evaluator: Evaluator, pair: Pair, found: list[Geometry]) -> None:
    _draw_cosines(pair, found)
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("**Interference in weight space, layer by layer**")
        chart = figures.layer_interference(
            found[0].layers, found[1].layers if len(found) > 1 else None, dark=frame.dark()
        )
        how = "Singular task interference relative to Σσ: at 0 the experts use directions of their own."
        n = f"All {len(found[0].layers)} weight matrices that the experts changed, no images."
        frame.figure(chart, how, pair.stacked([item.layers for item in found]), n, "weight-interference")
    with right:
        st.markdown("**Does overlap in weight space foretell crosstalk?**")
        _draw_overlap(evaluator, pair, found)


def _draw_cosines(pair: Pair, found: list[Geometry]) -> None:
    st.markdown("**Cosine of task vectors**")
    tables = [item.gram.cosine_table() for item in found]
    chart = cosine_matrices(*tables, dark=frame.dark())
    how = (
        "0 is independent; far from 0 two experts changed the same weights, the same way (vermillion) or against each "
        "other (blue)."
    )
    frame.figure(chart, how, pair.stacked(tables), "All parameters of the vision tower, no images.", "weight-cosine")


_OVERLAPS = {"cosine": "cosine of task vectors", "collision": "singular task interference of the pair"}


def _draw_overlap(evaluator: Evaluator, pair: Pair, found: list[Geometry]) -> None:
    overlap = kept.titled(
        st.segmented_control,
        "Overlap",
        "interference.overlap",
        _OVERLAPS,
        required=True,
        label_visibility="collapsed",
    )
    measured = crosstalk.latest(evaluator, pair)
    tables = [item.against_crosstalk(table) for item, table in zip(found, measured, strict=True)]
    chart = figures.overlap_against_crosstalk(
        tables[0], tables[1] if len(tables) > 1 else None, overlap, _OVERLAPS[overlap], dark=frame.dark()
    )
    said = []
    for name, item, table in zip(("before", "after"), found, measured, strict=False):
        rho, chance, _ = item.correlation(table, overlap)
        if rho == rho:
            said.append(f"{name} RI Spearman's ρ = {rho:.2f} (chance p = {chance:.3f})".replace("-", "−"))
    images = words.count(int(measured[0]["n"].max()), "image")
    n = f"{words.count(len(tables[0]), 'pair')}, crosstalk on up to {images} each way; "
    n += f"{'; '.join(said) or 'too few pairs for a correlation'}."
    how = (
        "One point per pair of experts: further right they overlap more in weight space, further up they disturb more."
    )
    frame.figure(chart, how, pair.stacked(tables), n, "overlap")
