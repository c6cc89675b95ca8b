"""The Embeddings page: the same images as several models see them, side by side."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ri_analysis import figures
from ri_analysis.analyses import Answer
from ri_analysis.analyses.clouds import EXPERT, Clouds, requests
from ri_analysis.analyses.embeddings import ANALYSIS, HOW, Embedded, based_on, drift_sizes, together
from ri_analysis.analyses.map_payload import COLOURS, TITLES, payload
from ri_analysis.analyses.maps import Map
from ri_analysis.engine import Evaluator
from ri_analysis.figures import words
from ri_analysis.files import digest
from ri_analysis.sides import BEFORE
from ri_analysis.ui import analysis, closely, frame, gallery, kept, pace, resources, state, tray
from ri_analysis.ui.asking import Question
from ri_analysis.ui.recipes import Pair
from ri_analysis.views import map

_TASKS = state.entry("embeddings.tasks")
_SIDE = 32  # pixels a side at most of a thumbnail on the map
_OPTIONS = {option.name: option for option in ANALYSIS.options}
_LABELS = {"left": "First map", "right": "Second map"}  # on a phone they stand one below the other


def embedded(evaluator: Evaluator, pair: Pair) -> Answer[Embedded]:
    """Draw the choice of map; return all models' features and places, PCA until a UMAP is ready.

    Where features take long to measure, the page goes no further until they are there.
    """
    chosen = ANALYSIS.settled(pair.before.tasks, {"map": analysis.pick("embeddings", _OPTIONS["map"])})
    asked = Question(evaluator, pair, ANALYSIS, chosen)
    if asked.known():
        found = asked.now()
        asked.measured_before()
        return found
    pca = _pca(Question(evaluator, pair, ANALYSIS, chosen | {"map": "pca"}))
    if pca is None:
        st.stop()
    if chosen["map"] == "pca":
        return pca
    note = "Fitted once on the experts' features, then saved."
    umap = asked.later("Draw UMAP", note, at_once=True, title="Drawing UMAP")
    if umap is None:
        loading = "" if "umap" in sys.modules else " UMAP itself is loaded first, which takes up to 20 s."
        st.caption(f"Showing PCA until UMAP is ready.{loading}")
    return umap or pca


def _pca(asked: Question) -> Answer[Embedded] | None:
    """Return the PCA; where its features take long to measure, that is done in the background, None until then."""
    evaluator = asked.evaluator
    if not asked.known():
        wanted = requests(evaluator, {str(place): recipe for place, recipe in enumerate(asked.recipes)})
        cost = evaluator.measurement.cost(wanted) if evaluator.number_format_chosen else None
        if cost is None or pace.seconds(evaluator, asked.recipes.before, cost, len(asked.recipes)) > pace.SHORT:
            return asked.later("Measure features", "All models' features of the same images.", at_once=True)
    return asked.now()


def explain(drawn: Map) -> None:
    """Say what the map is, and what it must not be read for."""
    text = f"{drawn.says} Both panels share the map, with equal axis scales."
    if drawn.floor is not None:
        text += (
            f" **Noise floor:** placed again, the experts' own points land a median of {drawn.floor:.2f} map units "
            f"from where the fit put them (the map is about {drawn.extent:.1f} wide); shorter distances mean nothing."
        )
    st.caption(f"{text} Drift sizes are computed in feature space, never read off the map.")


# --- map and selection ------------------------------------------------------------------------------------


@st.fragment
def map_section(evaluator: Evaluator, answer: Answer[Embedded]) -> None:
    """Draw both panels with their controls, and what is selected below them."""
    found = together(answer.results)
    clouds, kind = found.clouds, str(answer.options["map"])
    models, colour, tasks = _controls(clouds)
    rows = np.flatnonzero(clouds.images["task"].isin(tasks))
    data = payload(
        clouds.images,
        rows,
        found.drawn,
        models,
        colour,
        evaluator.suite.tasks,
        name=f"{kind}|{digest(*clouds.keys.values())}|{','.join(tasks)}",
        pictures=_pictures(evaluator, clouds),
        dark=frame.dark(),
    )
    ids = map.show(data, "embedding.map")
    hands = (
        "Hover over a point to see its image. Drag to lasso; wheel to zoom, double-click to clear. Pin keeps the whole "
        "map with the selection."
    )
    options = dict(answer.options) | {"left": models[0], "right": models[1], "colour": colour}
    shown, n, table, name = replace(answer, options=options), based_on(len(rows)), found.table(), f"map-{kind}"
    with frame.caption(f"{HOW} {hands} *{n}*", table, name, "Every image with its place under every model"):
        tray.pin_button(figures.clouds(data, ids), f"{HOW} {found.drawn.says}", table, n, name, shown)
    _selection(evaluator, answer.recipes, clouds, models, ids)


def _controls(clouds: Clouds) -> tuple[tuple[str, str], str, list[str]]:
    left, right, colour, tasks = st.columns([2, 2, 2, 4])
    shown = {name: TITLES[name] for name in clouds.keys}
    first, second = (_model(place, side, shown) for place, side in ((left, "left"), (right, "right")))
    by = kept.titled(colour.selectbox, "Colour by", "embeddings.colour", COLOURS)
    everything = list(dict.fromkeys(clouds.images["task"]))
    label = f"all {words.count(len(everything), 'task')}"
    chosen = kept.some_of(tasks.multiselect, "Tasks", _TASKS, everything, placeholder=label)
    return (first, second), by, chosen or everything


def _model(place: DeltaGenerator, side: str, titles: dict[str, str]) -> str:
    default, label = str(_OPTIONS[side].default), _LABELS[side]
    return kept.one_of(
        place.selectbox, label, f"embeddings.{side}", list(titles), default, format_func=titles.__getitem__
    )


def _pictures(evaluator: Evaluator, clouds: Clouds) -> str:
    name = f"{evaluator.suite.name}-{clouds.keys[EXPERT]}"
    sheet: dict[str, Any] = resources.remembered(("pictures", name), lambda: _sheet(evaluator, clouds))
    map.show_pictures(name, sheet)
    return name


def _sheet(evaluator: Evaluator, clouds: Clouds) -> dict[str, Any]:
    size = min(_SIDE, evaluator.architecture.image_size)
    parts = [
        evaluator.suite.task_data(str(task)).pixels(rows["index"].to_numpy(), size)
        for task, rows in clouds.images.groupby("task", sort=False)
    ]
    return map.picture_sheet(np.concatenate(parts), clouds.images["id"].tolist())


def _selection(evaluator: Evaluator, recipes: Pair, clouds: Clouds, models: tuple[str, str], ids: list[str]) -> None:
    chosen = clouds.images[clouds.images["id"].isin(ids)]
    if chosen.empty:
        st.caption("Nothing is selected yet.")
        return
    others = [model for model in dict.fromkeys(reversed(models)) if model != EXPERT] or [BEFORE]
    chosen = chosen.sort_values(f"{others[0]}_drift", ascending=False, ignore_index=True)
    title = f"**Selected: {words.count(len(chosen), 'image')}**, those that drift most in feature space first"
    frame.caption(title, chosen, "selected-images", "The selected images with every model's prediction")
    drawn = gallery.paged(evaluator, chosen, "embedding")
    columns = ["id", "class", f"{EXPERT}_says", *(f"{model}_{what}" for model in others for what in ("says", "drift"))]
    three_digits = {f"{model}_drift": st.column_config.NumberColumn(format="%.3f") for model in others}
    st.dataframe(chosen[columns], hide_index=True, height=320, key="embedding.selected", column_config=three_digits)
    closely.section(evaluator, recipes, drawn)


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
        "Mean 1 − cosine between a model's feature and the expert's of the same image, with 95% intervals: 0 is the "
        "expert's own direction. Some feature changes do not affect predictions: those that do are on the Interference "
        f"page. *{words.count(clouds.n, 'image')}.*"
    )
    frame.caption(text, sizes, "feature-drift", "The table with every digit")
