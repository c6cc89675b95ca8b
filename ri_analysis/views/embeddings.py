"""The Embeddings page: the same images as several models see them, side by side."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from ri_analysis import figures
from ri_analysis.analyses import Answer, find_analysis
from ri_analysis.analyses.clouds import EXPERT, MOST_POINTS, POINTS, Clouds, requests
from ri_analysis.analyses.embeddings import (
    ANALYSIS,
    HOW,
    MOST_PANELS,
    Embedded,
    based_on,
    drift_sizes,
    selection_summary,
    together,
)
from ri_analysis.analyses.map_payload import COLOURS, TITLES, payload
from ri_analysis.analyses.maps import Map
from ri_analysis.analyses.neighbours import neighbour_table
from ri_analysis.engine import Evaluator
from ri_analysis.figures import words
from ri_analysis.files import digest
from ri_analysis.hyperparameters import listed
from ri_analysis.sides import BEFORE
from ri_analysis.ui import analysis, closely, frame, gallery, kept, pace, resources, state, terms, tray
from ri_analysis.ui.asking import Question
from ri_analysis.ui.recipes import IMAGE, TASKS, Pair
from ri_analysis.views import map

_MODELS = state.entry("embeddings.models")
_ALONE = "embedding.alone"
_COUNTED = {
    "n": "images",
    "expert": "expert right",
    "before": "before RI right",
    "after": "after RI right",
    "lost_before": "lost before RI",
    "lost_after": "lost after RI",
}
_SIDE, _SMALL = 32, 16  # pixels a side at most of a thumbnail on the map: usually, and where there are many
_SIZES = (POINTS, 12_000, MOST_POINTS)
_OPTIONS = {option.name: option for option in ANALYSIS.options}


def embedded(evaluator: Evaluator, pair: Pair) -> Answer[Embedded]:
    """Draw the choice of map; return all models' features and places, PCA until a UMAP is ready.

    Where features take long to measure, the page goes no further until they are there.
    """
    chosen = ANALYSIS.settled(pair.before.tasks, _asked(evaluator, pair))
    asked = Question(evaluator, pair, ANALYSIS, chosen)
    if asked.known():
        found = asked.now()
        asked.measured_before()
        return found
    pca = _pca(Question(evaluator, pair, ANALYSIS, chosen | {"map": "pca"}))
    if pca is None:
        raise frame.PageEnd
    if chosen["map"] == "pca":
        return pca
    note = "Fitted once on the experts' features, then saved."
    umap = asked.later("Draw UMAP", note, at_once=True, title="Drawing UMAP")
    if umap is None:
        loading = "" if "umap" in sys.modules else " Loading UMAP takes up to 20 s."
        st.caption(f"Showing PCA until UMAP is ready.{loading}")
    return umap or pca


def _asked(evaluator: Evaluator, pair: Pair) -> dict[str, object]:
    """Draw the choice of map, and of how many images it shows where there are more than usual."""
    left, right = st.columns([1, 3])
    with left:
        drawn = analysis.pick("embeddings", _OPTIONS["map"])
    images = sum(len(evaluator.suite.task_data(task)) for task in pair.before.tasks)
    sizes = [size for size in _SIZES if size == POINTS or size < images * 1.5]
    if images <= 1.1 * POINTS:
        return {"map": drawn}
    with right:
        points = kept.one_of(
            st.selectbox, "Maximum images on the map", "embeddings.points", [str(size) for size in sizes], str(POINTS),
            format_func=lambda size: f"{int(size):,}", width=240,
        )  # fmt: skip
    return {"map": drawn, "points": int(points)}


def _pca(asked: Question) -> Answer[Embedded] | None:
    """Return the PCA; where its features take long to measure, that is done in the background, None until then."""
    evaluator = asked.evaluator
    if not asked.known():
        recipes = {str(place): recipe for place, recipe in enumerate(asked.recipes)}
        wanted = requests(evaluator, recipes, most=int(asked.options["points"]))
        cost = evaluator.measurement.cost(wanted) if evaluator.number_format_chosen else None
        if cost is None or pace.seconds(evaluator, asked.recipes.before, cost, len(asked.recipes)) > pace.SHORT:
            return asked.later("Measure features", "Computes all models' features of the same images.", at_once=True)
    return asked.now()


def explain(drawn: Map) -> None:
    """Say what the map is, and what it must not be read for."""
    text = f"{drawn.says} All panels show the same part of one map, with equal axis scales."
    if drawn.floor is not None:
        text += (
            f" **Noise floor:** projected again, the experts' points land a median of {drawn.floor:.2f} map units from "
            f"their fitted positions (the map is about {drawn.extent:.1f} wide); shorter distances mean nothing."
        )
    st.caption(f"{text} Drift sizes are computed in feature space, never read off the map.")


# --- map and selection ------------------------------------------------------------------------------------


@st.fragment
def map_section(evaluator: Evaluator, answer: Answer[Embedded]) -> None:
    """Draw the panels with their controls, and what is selected below them."""
    found = together(answer.results)
    clouds, kind = found.clouds, str(answer.options["map"])
    models, colour, tasks = _controls(found)
    rows = np.flatnonzero(clouds.images["task"].isin(tasks))
    data = payload(
        found,
        rows,
        models,
        colour,
        evaluator.suite.tasks,
        name=f"{kind}|{digest(*clouds.keys.values())}|{','.join(tasks)}",
        pictures=_pictures(evaluator, clouds),
        dark=frame.dark(),
    )
    ids = map.show(data | {"marked": _marked()}, "embedding.map")
    _look_at(ids)
    hands = (
        "Hover over a point to see its image, click it to look closely. Drag to lasso; wheel to zoom, double-click to "
        "clear; click names in the legend to single them out. Pin keeps the whole map with the selection."
    )
    options = dict(answer.options) | {"models": ",".join(models), "colour": colour}
    shown, n, table, name = replace(answer, options=options), based_on(len(rows)), found.table(), f"map-{kind}"
    with frame.caption(f"{HOW} {hands} *{n}*", table, name, "Every image with its position under each model"):
        tray.pin_button(partial(figures.clouds, data, ids), f"{HOW} {found.drawn.says}", table, n, name, shown)
    _selection(evaluator, answer.recipes, clouds, models, ids)


def _marked() -> str | None:
    """Return the id on the map of the image that is looked at."""
    task, _, index = state.choice().get(IMAGE, "").rpartition("/")
    return f"{task}:{index}" if task else None


def _look_at(ids: list[str]) -> None:
    """Look closely at an image that was just selected alone."""
    [alone] = ids if len(ids) == 1 else [""]
    if alone and alone != st.session_state.get(_ALONE):
        state.take(IMAGE, "/".join(alone.rpartition(":")[::2]))
    st.session_state[_ALONE] = alone


def _controls(found: Embedded) -> tuple[tuple[str, ...], str, list[str]]:
    models, colour, tasks = st.columns([4, 2, 4])
    titles = {name: TITLES[name] for name in found.clouds.keys}
    usual = found.models(listed(_OPTIONS["models"].default))
    picked = kept.some_of(
        models.multiselect,
        "Models",
        _MODELS,
        list(titles),
        format_func=titles.__getitem__,
        max_selections=MOST_PANELS,
        placeholder=", ".join(titles[name] for name in usual),
    )
    by = kept.titled(colour.selectbox, "Colour by", "embeddings.colour", COLOURS)
    everything = list(dict.fromkeys(found.clouds.images["task"]))
    label = f"all {words.count(len(everything), 'task')}"
    chosen = kept.some_of(tasks.multiselect, "Tasks", TASKS, everything, placeholder=label)
    return found.models(picked) if picked else usual, by, chosen or everything


def _pictures(evaluator: Evaluator, clouds: Clouds) -> str:
    name = f"{evaluator.suite.name}-{clouds.keys[EXPERT]}"
    sheet: dict[str, Any] = resources.remembered(("pictures", name), lambda: _sheet(evaluator, clouds))
    map.show_pictures(name, sheet)
    return name


def _sheet(evaluator: Evaluator, clouds: Clouds) -> dict[str, Any]:
    size = min(_SIDE if clouds.n <= POINTS else _SMALL, evaluator.architecture.image_size)
    parts = [
        evaluator.suite.task_data(str(task)).pixels(rows["index"].to_numpy(), size)
        for task, rows in clouds.images.groupby("task", sort=False)
    ]
    return map.picture_sheet(np.concatenate(parts), clouds.images["id"].tolist())


def _selection(evaluator: Evaluator, recipes: Pair, clouds: Clouds, models: Sequence[str], ids: list[str]) -> None:
    chosen = clouds.images[clouds.images["id"].isin(ids)]
    if chosen.empty:
        st.caption("Nothing is selected yet.")
        _closely(evaluator, recipes, chosen)
        return
    others = [model for model in dict.fromkeys(reversed(models)) if model != EXPERT] or [BEFORE]
    chosen = chosen.sort_values(f"{others[0]}_drift", ascending=False, ignore_index=True)
    title = f"**Selected: {words.count(len(chosen), 'image')}**, largest drift in feature space first"
    frame.caption(title, chosen, "selected-images", "The selected images with every model's prediction")
    drawn = gallery.paged(evaluator, chosen, "embedding")
    columns = ["id", "class", f"{EXPERT}_says", *(f"{model}_{what}" for model in others for what in ("says", "drift"))]
    three_digits = {f"{model}_drift": st.column_config.NumberColumn(format="%.3f") for model in others}
    every, by_class = st.tabs(["Image by image", "By task and class"])
    with every:
        st.dataframe(chosen[columns], hide_index=True, height=320, key="embedding.selected", column_config=three_digits)
    with by_class:
        _summary(chosen)
    _closely(evaluator, recipes, drawn)


def _summary(chosen: pd.DataFrame) -> None:
    """Count what merging lost and RI regained of the selected images."""
    table = selection_summary(chosen)
    st.dataframe(table.rename(columns=_COUNTED), hide_index=True, height=320, key="embedding.summary")
    text = "Lost: the task's expert is right, the merged model wrong. Regained: wrong before RI, right after it."
    frame.caption(f"{text} *{words.count(len(chosen), 'image')}.*", table, "selected-classes", "The counts as a table")


def _closely(evaluator: Evaluator, recipes: Pair, drawn: pd.DataFrame) -> None:
    image = closely.section(evaluator, recipes, drawn)
    if image is not None:
        _neighbours(evaluator, recipes, *image)


def _neighbours(evaluator: Evaluator, recipes: Pair, task: str, index: int) -> None:
    """Draw the images that lie next to one image under every model."""
    nearest = find_analysis("neighbours")
    st.markdown(f"**{nearest.title}**")
    options = nearest.settled(recipes.before.tasks, {"task": task, "index": index})
    question = Question(evaluator, recipes, nearest, options)
    at_once = not evaluator.architecture.large or question.known()
    found = question.later("Find neighbours", "Compares all images on the map under every model.", at_once=at_once)
    if found is None:
        return
    terms.prose(nearest.says(found))
    for model, rows in neighbour_table(found).groupby("model", sort=False):
        st.caption(TITLES[str(model)])
        notes = [f"cosine {cosine:.3f}" for cosine in rows["cosine"]]
        gallery.cards(evaluator, rows.assign(note=notes))
    analysis.charts(nearest, found)


# --- drift sizes ------------------------------------------------------------------------------------------


def sizes_section(answer: Answer[Embedded]) -> None:
    """Draw the drift sizes as a table, one row a task and one column a model."""
    clouds = together(answer.results).clouds
    sizes = drift_sizes(clouds)
    shown = pd.DataFrame({"task": list(dict.fromkeys(sizes["task"]))})
    for model, rows in sizes.groupby("model", sort=False):
        cells = zip(rows["drift"], rows["drift_low"], rows["drift_high"], strict=True)
        shown[str(model)] = [f"{value:.3f} ({low:.3f}–{high:.3f})" for value, low, high in cells]
    st.dataframe(shown, hide_index=True, key="embedding.sizes")
    text = (
        "Mean 1 − cosine between a model's feature and the expert's of the same image, with 95% intervals: at 0 both "
        "point the same way. Some feature changes do not affect predictions: those that do are on the Interference "
        f"page. *{words.count(clouds.n, 'image')}.*"
    )
    frame.caption(text, sizes, "feature-drift", "The table with every digit")
