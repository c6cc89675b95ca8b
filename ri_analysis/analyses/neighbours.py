"""Nearest neighbours: which images every model puts next to one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ri_analysis.analyses.analysis import Analysis, Answer, Columns, Limit, Option, Options, rows
from ri_analysis.analyses.clouds import EXPERT, PRETRAINED, collect, requests
from ri_analysis.analyses.map_payload import TITLES
from ri_analysis.engine import models
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.measurement import Request
from ri_analysis.engine.outcomes import labels
from ri_analysis.engine.results import Kept, packed_table, table_of
from ri_analysis.errors import InputError
from ri_analysis.figures import words
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.neighbours import similarities
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Counter, Parts, Progress
from ri_analysis.sides import AFTER, BEFORE

_MERGED = "merged"


@dataclass(frozen=True)
class Neighbours:
    """The images whose features are nearest to one image's, by cosine, among `n` others.

    `table` has one row a neighbour: `model` (`pretrained`, `expert` or `merged`), `rank` from 1, `task`, `index`,
    `class`, `same` (whether task and class are those of the image) and `cosine`.
    """

    table: pd.DataFrame
    n: int


def _measure(
    evaluator: Evaluator, recipe: MergeRecipe, options: Options, limit: Limit, progress: Progress | None
) -> Neighbours:
    task, index, count = str(options["task"]), int(options["index"]), int(options["count"])
    images = evaluator.suite.task_data(task)
    if index >= len(images):
        raise InputError(f"neighbours: {task} has images 0 to {len(images) - 1:,}, found index {index}")
    parts = Parts(progress, 2)
    clouds = collect(evaluator, {_MERGED: recipe}, limit=limit, progress=parts.part(0))
    asked = {
        PRETRAINED: evaluator.measurement.reference(models.PRETRAINED),
        EXPERT: evaluator.expert(task),
        _MERGED: evaluator.model(recipe),
    }
    counter, tables = Counter(parts.part(1), len(asked)), []
    asked[_MERGED].prepare(counter.first())
    others = np.flatnonzero((clouds.images["task"] != task) | (clouds.images["index"] != index))
    truth = evaluator.heads[task].classes[labels(evaluator.sections((task,))[0])[index]]
    for name, model in asked.items():
        weights = model.weights(counter.alive)
        [own] = evaluator.encoder.features_of_many(weights, [(images, [index])], source=model.name)
        unit = torch.nn.functional.normalize(own[0].double(), dim=0).numpy()
        cosine = clouds.features[name][others].astype(np.float64) @ unit
        nearest = np.argsort(-cosine, kind="stable")[:count]
        found = clouds.images.iloc[others[nearest]][["task", "index", "class"]].reset_index(drop=True)
        found["same"] = (found["task"] == task) & (found["class"] == truth)
        found.insert(0, "rank", np.arange(1, len(found) + 1))
        found.insert(0, "model", name)
        tables.append(found.assign(cosine=cosine[nearest]))
        counter.advance(1)
    return Neighbours(pd.concat(tables, ignore_index=True), len(others))


def _requests(evaluator: Evaluator, recipe: MergeRecipe, _: Options, limit: Limit) -> Sequence[Request]:
    return requests(evaluator, {_MERGED: recipe}, limit)


def neighbour_table(answer: Answer[Neighbours]) -> pd.DataFrame:
    """Return one row a model and neighbour; `model` is `pretrained`, `expert`, `before` or, with an RI set, `after`."""
    first = answer.results.before.table
    shared = [first[first["model"] == name] for name in (PRETRAINED, EXPERT)]
    merged = [
        side.table[side.table["model"] == _MERGED].assign(model=stage) for stage, side in answer.results.stages.items()
    ]
    return pd.concat([*shared, *merged], ignore_index=True)


def _charts(answer: Answer[Neighbours], dark: bool) -> dict[str, Chart]:
    found = answer.results.before
    return {
        "neighbours": Chart(
            similarities(neighbour_table(answer), TITLES, dark=dark),
            "Each row is a model, each mark one of the nearest images: the further right, the more similar its "
            "features. Circles: same class; crosses: another class.",
            n=f"Nearest of {words.count(found.n, 'other image')}.",
        )
    }


def _says(answer: Answer[Neighbours]) -> str:
    table = neighbour_table(answer)
    said = [
        f"{rows['same'].sum()} of {len(rows)} under {_MODEL[str(model)]}"
        for model, rows in table.groupby("model", sort=False)
    ]
    return f"Nearest images of the same class: {', '.join(said)}."


_MODEL = {
    PRETRAINED: "the pretrained model",
    EXPERT: "its expert",
    BEFORE: "the merged model before RI",
    AFTER: "the merged model after RI",
}

ANALYSIS = Analysis(
    name="neighbours",
    title="Nearest neighbours",
    question="Which images are nearest to a given image in each model's features?",
    formula=r"""The images $x'$ with the largest $\cos(f(x;\theta), f(x';\theta))$, for the pretrained model, the
experts (each image under its own task's) and the merged models.""",
    options=(
        Option("task", "the task whose image it is", "", task=0, measured=True),
        Option("index", "place of the image in the task's test set, from 0", 0, 0, 10_000_000, measured=True),
        Option("count", "neighbours of each model", 8, 1, 50, unit="images", measured=True),
    ),
    measure=_measure,
    requests=_requests,
    kept=Kept(
        "neighbours",
        "1",
        lambda found: {"table": packed_table(found.table), "n": np.array(found.n)},
        lambda found: Neighbours(table_of(found["table"]), int(found["n"])),
    ),
    tables=lambda answer: {"neighbours": neighbour_table(answer)},
    charts=_charts,
    says=_says,
    columns={
        "neighbours": Columns(
            "a model and one of the images nearest to the given one",
            {
                "model": "`pretrained`, `expert`, `before` or `after`",
                "rank": "1 is the nearest",
                "task": "the neighbour's task",
                "index": "its place in the task's test set",
                "class": "its class",
                "same": "whether task and class are those of the given image",
                "cosine": "cosine of the two images' features, −1 to 1",
            },
        )
    },
    contract={"neighbours": lambda found: rows(found.table)},
    page="",
)
