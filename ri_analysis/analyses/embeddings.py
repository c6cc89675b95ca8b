"""Embeddings: the same images as pretrained, experts and merged models see them, on one map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ri_analysis.analyses.analysis import Analysis, Answer, Columns, Limit, Option, Options
from ri_analysis.analyses.clouds import EXPERT, MOST_POINTS, POINTS, Clouds, collect, prototypes
from ri_analysis.analyses.map_payload import COLOURS, TITLES, payload
from ri_analysis.analyses.maps import Map, pca_map, umap_map
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.results import Kept, packed_table, packed_text, table_of, text_of
from ri_analysis.engine.sealing import Arrays
from ri_analysis.figures import clouds as map_figure
from ri_analysis.figures import words
from ri_analysis.figures.chart import Chart
from ri_analysis.hyperparameters import listed
from ri_analysis.measures.drift import drift_table
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Parts, Progress
from ri_analysis.sides import AFTER, BEFORE, Sides

HOW = (
    "Each point is an image. Every panel has the same images, as the model named above it sees them. If some are "
    "selected, all others are grey."
)
MOST_PANELS = 4
_MERGED = "merged"


class Embedded(NamedTuple):
    """The same images under several models, and where a map places them.

    `classes` are those of the heads' prototypes: `task`, `class`.
    """

    clouds: Clouds
    drawn: Map
    classes: pd.DataFrame

    def table(self) -> pd.DataFrame:
        """Return one row per image, with each model's place on the map: `<model>_x`, `<model>_y` in map units."""
        places = {
            f"{name}_{axis}": points[:, column]
            for name, points in self.drawn.points.items()
            for column, axis in enumerate("xy")
        }
        return self.clouds.images.assign(**places)

    def named(self, stage: str) -> Embedded:
        """Return the same with the merged model called by its stage."""
        points = {stage if name == _MERGED else name: each for name, each in self.drawn.points.items()}
        return Embedded(self.clouds.renamed(_MERGED, stage), self.drawn._replace(points=points), self.classes)

    def models(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Return those of the `wanted` models that there are, as many as a page holds; at least one."""
        found = [model for model in wanted if model in self.clouds.keys][:MOST_PANELS]
        return tuple(found or [EXPERT])


def _pack(found: Embedded) -> Arrays:
    drawn = found.drawn
    about = {"keys": found.clouds.keys, "says": drawn.says, "floor": drawn.floor, "extent": drawn.extent}
    places = {f"places/{name}": points for name, points in drawn.points.items()}
    tables = {"images": packed_table(found.clouds.images), "classes": packed_table(found.classes)}
    return {"about": packed_text(about), "prototypes": drawn.prototypes, **tables, **places}


def _unpack(arrays: Arrays) -> Embedded:
    about = text_of(arrays["about"])
    points = {name: arrays[f"places/{name}"].astype(np.float32) for name in about["keys"]}
    clouds = Clouds({}, table_of(arrays["images"]), about["keys"])
    drawn = Map(points, arrays["prototypes"].astype(np.float32), about["says"], about["floor"], about["extent"])
    return Embedded(clouds, drawn, table_of(arrays["classes"]))


def together(sides: Sides[Embedded]) -> Embedded:
    """Return both merges' features and places as one: their maps are the same, as the experts define it."""
    first, *rest = (each.named(stage) for stage, each in sides.stages.items())
    for each in rest:
        points = first.drawn.points | {AFTER: each.drawn.points[AFTER]}
        clouds = first.clouds.with_model(AFTER, each.clouds)
        first = Embedded(clouds, first.drawn._replace(points=points), first.classes)
    return first


def _measure(
    evaluator: Evaluator, recipe: MergeRecipe, options: Options, limit: Limit, progress: Progress | None
) -> Embedded:
    parts = Parts(progress, 1 if options["map"] == "pca" else 2)
    most = int(options["points"])
    clouds = collect(evaluator, {_MERGED: recipe}, limit=limit, most=most, progress=parts.part(0))
    anchors = prototypes(evaluator, clouds)
    if options["map"] == "pca":
        return Embedded(clouds, pca_map(clouds, anchors), anchors.names)
    return Embedded(clouds, umap_map(evaluator, clouds, anchors, parts.part(1)), anchors.names)


def drift_sizes(clouds: Clouds) -> pd.DataFrame:
    """Return the mean drift in feature space: `task`, `drift`, `drift_low`, `drift_high`, `n`, `model`."""
    tables = []
    for model in (name for name in clouds.keys if name != EXPERT):
        grouped = clouds.images.groupby("task", sort=False)[f"{model}_drift"]
        values = {str(task): each.to_numpy(np.float64) for task, each in grouped}
        tables.append(drift_table(values).assign(model=TITLES[model]))
    return pd.concat(tables, ignore_index=True)


def selection_summary(images: pd.DataFrame) -> pd.DataFrame:
    """Count, for each task and class of some images, how many each model has right, what merging lost and RI regained.

    One row a task and class, those that lost most first: `task`, `class`, `n`, `expert`, `before` and `after` (images
    that the model has right), `lost_before`, `lost_after` (the expert has them right, the merged model has not),
    `regained` (wrong before RI, right after). Without an RI set there are no columns about after.
    """
    right = {name: images[f"{name}_right"] for name in (EXPERT, BEFORE, AFTER) if f"{name}_right" in images}
    counted: dict[str, pd.Series] = dict(right)
    for stage in (name for name in (BEFORE, AFTER) if name in right):
        counted[f"lost_{stage}"] = right[EXPERT] & ~right[stage]
    if AFTER in right:
        counted["regained"] = ~right[BEFORE] & right[AFTER]
    flags = pd.DataFrame(counted).astype(int).assign(n=1, task=images["task"], **{"class": images["class"]})
    table = flags.groupby(["task", "class"], sort=False).sum().reset_index()
    last = f"lost_{AFTER if AFTER in right else BEFORE}"
    return table[["task", "class", "n", *counted]].sort_values(last, ascending=False, kind="stable", ignore_index=True)


def _tables(answer: Answer[Embedded]) -> dict[str, pd.DataFrame]:
    found = together(answer.results)
    return {f"map-{answer.options['map']}": found.table(), "feature-drift": drift_sizes(found.clouds)}


def _charts(answer: Answer[Embedded], dark: bool) -> dict[str, Chart]:
    found, name = together(answer.results), f"map-{answer.options['map']}"
    everything, colour = np.arange(found.clouds.n), str(answer.options["colour"])
    models = found.models(listed(answer.options["models"]))
    data = payload(found, everything, models, colour, answer.tasks, name=name, pictures="")
    return {name: Chart(map_figure(data), f"{HOW} {found.drawn.says}", n=based_on(found.clouds.n))}


def based_on(images: int) -> str:
    """Say on how many images a map is based."""
    return f"{words.count(images, 'image')}: a fixed sample of the test images."


def _says(answer: Answer[Embedded]) -> str:
    sizes = drift_sizes(together(answer.results).clouds).groupby("model", sort=False)["drift"].mean()
    said = ", ".join(f"**{drift:.3f}** {model}" for model, drift in sizes.items())
    return f"Mean 1 − cosine to the expert's feature of the same image: {said}."


_DRIFT = "1 − cosine to the expert's feature, in feature space; not for the expert itself"
_MAP = Columns(
    "an image",
    {
        "id": "`task:index`",
        "task": "",
        "index": "place in the task's test set",
        "class": "its class",
        "<model>_says": "what the model predicts; `<model>` is `pretrained`, `expert`, `before` or `after`",
        "<model>_right": "whether that is its class",
        "<model>_x": "position on the map, in map units",
        "<model>_y": "the same, vertically",
        "<model>_drift": _DRIFT,
    },
)

ANALYSIS = Analysis(
    name="embeddings",
    title="Embeddings",
    question="Where do the same images lie in the feature spaces of pretrained, expert and merged models?",
    options=(
        Option(
            "map",
            "how features are projected to two dimensions",
            "pca",
            label="projection",
            choices=("pca", "umap"),
            titles=("PCA", "UMAP"),
            measured=True,
        ),
        Option(
            "points",
            f"maximum number of images on the map; above {POINTS:,}, UMAP finds neighbours by an approximate search",
            POINTS,
            100,
            MOST_POINTS,
            unit="images",
            measured=True,
        ),
        Option(
            "models",
            f"the models whose maps are shown, {MOST_PANELS} at most; unavailable ones are left out",
            ",".join((EXPERT, BEFORE, AFTER)),
            each=Option("model", "a model", EXPERT, choices=tuple(TITLES), titles=tuple(TITLES.values())),
        ),
        Option(
            "colour",
            "what colours show",
            "task",
            choices=tuple(COLOURS),
            titles=tuple(COLOURS.values()),
            label="colour by",
        ),
    ),
    measure=_measure,
    kept=Kept("embeddings", "2", _pack, _unpack),
    tables=_tables,
    charts=_charts,
    says=_says,
    columns={
        "map-pca": _MAP,
        "map-umap": _MAP,
        "feature-drift": Columns(
            "a model and a task", {"task": "", "model": "in words", "drift": "mean 1 − cosine", "n": ""}
        ),
    },
    page="embeddings",
)
