"""The Embeddings page: the same images as several models see them, side by side."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from ri_analysis import figures
from ri_analysis.engine import Evaluator
from ri_analysis.engine.embedding import AFTER, BEFORE, EXPERT, Clouds, Map, collect, pca_map, umap_known, umap_map
from ri_analysis.figures import words
from ri_analysis.files import digest
from ri_analysis.measures.drift import drift_table
from ri_analysis.progress import Progress
from ri_analysis.ui import background, frame, gallery, kept, map, resources, tray
from ri_analysis.ui.map.payload import COLOURS, TITLES, payload
from ri_analysis.ui.measuring import Meter
from ri_analysis.ui.recipes import Pair

_SIDE = 32  # pixels a side at most of a thumbnail on the map
_HOW = (
    "Each point is an image: the same ones in both panels, each as the model named above it sees it. Where some are "
    "selected, all others are grey."
)
_KINDS = {"pca": "PCA", "umap": "UMAP"}


def clouds_of(evaluator: Evaluator, pair: Pair) -> Clouds:
    """Return the features of all models of a pair, with progress where they have to be computed."""
    with Meter("Reading features") as meter:
        return resources.remembered(_key("clouds", evaluator, pair), lambda: _collect(evaluator, pair, meter))


def _collect(evaluator: Evaluator, pair: Pair, progress: Progress | None) -> Clouds:
    return collect(evaluator, dict(zip((BEFORE, AFTER), pair.recipes, strict=False)), progress)


def _key(what: str, evaluator: Evaluator, pair: Pair) -> tuple[Hashable, ...]:
    weights = (evaluator.digest(recipe) for recipe in pair.recipes)
    return (what, str(evaluator.suite.spec.path), *weights)


# --- which map --------------------------------------------------------------------------------------------


def chosen_map(evaluator: Evaluator, pair: Pair, clouds: Clouds) -> tuple[str, Map]:
    """Draw the choice of map; return its name and the map. PCA stands in until a UMAP is there."""
    kind = kept.titled(st.segmented_control, "Map", "embeddings.map", _KINDS, required=True)
    found = _umap(evaluator, pair, clouds) if kind == "umap" else None
    if found is not None:
        return "umap", found
    return "pca", resources.remembered(_key("pca", evaluator, pair), lambda: pca_map(clouds))


def _umap(evaluator: Evaluator, pair: Pair, clouds: Clouds) -> Map | None:
    key = _key("umap", evaluator, pair)
    if resources.memory().get(key) is None and umap_known(evaluator, clouds):
        resources.memory().put(key, umap_map(evaluator, clouds))

    def work(other: Evaluator, progress: Progress) -> Map:
        return umap_map(other, clouds, progress)

    note = "Fitted once on the experts' features and kept; the other models are placed in it. Until then: PCA."
    found: Map | None = background.on_request(key, "Draw the UMAP", "Fitting UMAP and placing the models", work, note)
    return found


def explain(drawn: Map) -> None:
    """Say what the map is, and what it must not be read for."""
    text = f"{drawn.says} Both panels share the map, with one unit both ways."
    if drawn.floor is not None:
        text += (
            f" **Noise floor:** placed again, the experts' own points land a median of {drawn.floor:.2f} map units "
            f"from where the fit put them (the map is about {drawn.extent:.1f} wide); shorter lines mean nothing."
        )
    st.caption(f"{text} Drift sizes are computed in feature space, never read off the map.")


# --- map and selection ------------------------------------------------------------------------------------


@st.fragment
def map_section(evaluator: Evaluator, clouds: Clouds, kind: str, drawn: Map) -> None:
    """Draw both panels with their controls, and what is selected below them."""
    models, colour, tasks = _controls(clouds)
    rows = np.flatnonzero(clouds.images["task"].isin(tasks))
    data = payload(
        clouds.images,
        rows,
        drawn,
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
    n, name, table = (
        f"{words.count(len(rows), 'image')}: a fixed sample of the test images.",
        f"map-{kind}",
        clouds.table(drawn),
    )
    with frame.caption(f"{_HOW} {hands} *{n}*", table, name, "Every image with its place under every model"):
        tray.pin_button(figures.clouds(data, ids), f"{_HOW} {drawn.says}", table, n, name)
    _selection(evaluator, clouds, models, ids)


def _controls(clouds: Clouds) -> tuple[tuple[str, str], str, list[str]]:
    names = list(clouds.features)
    left, right, colour, tasks = st.columns([2, 2, 2, 4])
    title = TITLES.__getitem__
    first = kept.one_of(left.selectbox, "Left", "embeddings.left", names, EXPERT, format_func=title)
    second = kept.one_of(right.selectbox, "Right", "embeddings.right", names, BEFORE, format_func=title)
    by = kept.titled(colour.selectbox, "Colour by", "embeddings.colour", COLOURS)
    everything = list(dict.fromkeys(clouds.images["task"]))
    label = f"all {words.count(len(everything), 'task')}"
    chosen = kept.some_of(tasks.multiselect, "Tasks", "embeddings.tasks", everything, placeholder=label)
    return (first, second), by, chosen or everything


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


def _selection(evaluator: Evaluator, clouds: Clouds, models: tuple[str, str], ids: list[str]) -> None:
    chosen = clouds.images[clouds.images["id"].isin(ids)]
    if chosen.empty:
        st.caption("Nothing is selected yet.")
        return
    others = [model for model in dict.fromkeys(reversed(models)) if model != EXPERT] or [BEFORE]
    chosen = chosen.sort_values(f"{others[0]}_drift", ascending=False, ignore_index=True)
    title = f"**Selected: {words.count(len(chosen), 'image')}**, those that drift most in feature space first"
    frame.caption(title, chosen, "selected-images", "The selected images with every model's prediction")
    gallery.paged(evaluator, chosen, "embedding")
    columns = ["id", "class", f"{EXPERT}_says", *(f"{model}_{what}" for model in others for what in ("says", "drift"))]
    three_digits = {f"{model}_drift": st.column_config.NumberColumn(format="%.3f") for model in others}
    st.dataframe(chosen[columns], hide_index=True, height=320, key="embedding.selected", column_config=three_digits)


# --- drift sizes ------------------------------------------------------------------------------------------


def drift_sizes(clouds: Clouds) -> pd.DataFrame:
    """Return the mean drift in feature space: `task`, `drift`, `drift_low`, `drift_high`, `n`, `model`."""
    tables = []
    for model in (name for name in clouds.features if name != EXPERT):
        grouped = clouds.images.groupby("task", sort=False)[f"{model}_drift"]
        values = {str(task): each.to_numpy(np.float64) for task, each in grouped}
        tables.append(drift_table(values).assign(model=TITLES[model]))
    return pd.concat(tables, ignore_index=True)


def sizes_section(clouds: Clouds) -> None:
    """Draw the drift sizes as a table, one row a task and one column a model."""
    sizes = drift_sizes(clouds)
    shown = pd.DataFrame({"task": list(dict.fromkeys(sizes["task"]))})
    for model, rows in sizes.groupby("model", sort=False):
        cells = zip(rows["drift"], rows["drift_low"], rows["drift_high"], strict=True)
        shown[str(model)] = [f"{value:.3f} ({low:.3f}–{high:.3f})" for value, low, high in cells]
    st.dataframe(shown, hide_index=True, key="embedding.sizes")
    text = (
        "Mean 1 − cosine between a model's feature and the expert's of the same image, with 95% intervals: 0 is the "
        "expert's own direction. Features may also move where no head looks: what that does to predictions is on the "
        f"Interference page. *{words.count(clouds.n, 'image')}.*"
    )
    frame.caption(text, sizes, "feature-drift", "The table with every digit")
