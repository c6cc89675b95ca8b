"""How far each task has drifted from its original expert: by any distance, per task and per image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis.analyses.analysis import FIRST_LOOK, Analysis, Answer, Columns, Limit, Option, Options, rows
from ri_analysis.engine.evaluation import paired_change
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.measurement import Request
from ri_analysis.engine.outcomes import labels
from ri_analysis.engine.results import Kept, packed_text, text_of
from ri_analysis.engine.sealing import Arrays
from ri_analysis.figures import reading, words
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.drift import drift_by_task
from ri_analysis.measures.distances import DISTANCES, Distance, Outputs
from ri_analysis.measures.drift import drift_change_table, drift_table, outcomes
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Progress
from ri_analysis.sides import Sides

Values = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Drift:
    """What the original experts and one merged model make of the same images, by task.

    `expert` and `merged` (n,) are the classes they predict, `distances` (n,) how far they are apart, by distance and
    task. `indices` (n,) are the images' places in their task's test set, `labels` (n,) their classes, `classes` the
    class names. `full` is False for a subset.
    """

    expert: dict[str, Indices]
    merged: dict[str, Indices]
    distances: dict[str, dict[str, Values]]
    indices: dict[str, Indices]
    labels: dict[str, Indices]
    classes: dict[str, tuple[str, ...]]
    full: bool
    _tables: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks measured."""
        return tuple(self.expert)

    @property
    def n(self) -> int:
        """Images measured, over all tasks."""
        return sum(len(each) for each in self.indices.values())

    def values(self, distance: str = "kl") -> dict[str, Values]:
        """Return each image's distance, (n,) by task."""
        return self.distances[distance]

    def table(self, distance: str = "kl") -> pd.DataFrame:
        """Return the mean distance per task with intervals: see `drift_table`."""
        if distance not in self._tables:
            self._tables[distance] = drift_table(self.values(distance), shares=distance == "disagreement")
        return self._tables[distance]

    def images(self, distance: str = "kl") -> pd.DataFrame:
        """Return one row per image: `task`, `index`, `class`, `expert_says`, `merged_says`, `drift`, `outcome`."""
        values = self.values(distance)
        return pd.concat([self._images(task, values[task]) for task in self.tasks], ignore_index=True)

    def _images(self, task: str, values: Values) -> pd.DataFrame:
        names, labels = np.array(self.classes[task]), self.labels[task]
        expert, merged = self.expert[task], self.merged[task]
        return pd.DataFrame(
            {
                "task": task,
                "index": self.indices[task],
                "class": names[labels],
                "expert_says": names[expert],
                "merged_says": names[merged],
                "drift": values,
                "outcome": outcomes(labels, expert, merged),
            }
        )


def drift_changes(sides: Sides[Drift], distance: str = "kl") -> pd.DataFrame | None:
    """Return the paired change of the mean distance per task: see `drift_change_table`; None without an RI set."""
    if sides.after is None:
        return None
    return drift_change_table(sides.before.values(distance), sides.after.values(distance))


def measure_drift(
    evaluator: Evaluator, recipe: MergeRecipe, *, limit: int | None = None, progress: Progress | None = None
) -> Drift:
    """Compare the merge by `recipe` with each of its tasks' original experts, on a subset of `limit` images a task."""
    sections = evaluator.sections(recipe.tasks)
    *experts, merged = evaluator.measurement.outputs(_requests(evaluator, recipe, {}, limit), progress)
    chosen = {part.name: part.rows(limit) for part in sections}
    expert = {task: found for each in experts for task, found in each.items()}
    return Drift(
        _predicted(expert),
        _predicted(merged),
        {name: _apart(expert, merged, distance) for name, distance in DISTANCES.items()},
        chosen,
        {part.name: labels(part)[chosen[part.name]] for part in sections},
        {task: evaluator.heads[task].classes for task in recipe.tasks},
        full=all(part.count(limit) == len(part.images) for part in sections),
    )


def _predicted(outputs: Mapping[str, Outputs]) -> dict[str, Indices]:
    return {task: found.predicted.numpy() for task, found in outputs.items()}


def _apart(expert: Mapping[str, Outputs], merged: Mapping[str, Outputs], distance: Distance) -> dict[str, Values]:
    return {task: distance.of(expert[task], merged[task]).numpy().astype(np.float32) for task in expert}


# --- how it is kept ---------------------------------------------------------------------------------------


def _pack(drift: Drift) -> Arrays:
    arrays: Arrays = {"about": packed_text({"classes": drift.classes, "full": drift.full})}
    for task in drift.tasks:
        numbers = {"expert": drift.expert, "merged": drift.merged, "indices": drift.indices, "labels": drift.labels}
        arrays |= {f"{task}/{name}": each[task].astype(np.int32) for name, each in numbers.items()}
        arrays |= {f"{task}/{name}": each[task] for name, each in drift.distances.items()}
    return arrays


def _unpack(arrays: Arrays) -> Drift:
    about = text_of(arrays["about"])
    tasks = tuple(about["classes"])

    def numbers(name: str) -> dict[str, Indices]:
        return {task: arrays[f"{task}/{name}"].astype(np.int64) for task in tasks}

    return Drift(
        numbers("expert"),
        numbers("merged"),
        {name: {task: arrays[f"{task}/{name}"].astype(np.float32) for task in tasks} for name in DISTANCES},
        numbers("indices"),
        numbers("labels"),
        {task: tuple(names) for task, names in about["classes"].items()},
        about["full"],
    )


KEPT = Kept("drift", ",".join(["1", *DISTANCES]), _pack, _unpack)


def _requests(evaluator: Evaluator, recipe: MergeRecipe, _: Options, limit: Limit) -> list[Request]:
    sections = evaluator.sections(recipe.tasks)
    experts = [Request(evaluator.expert(part.name), (part,), limit, True) for part in sections]
    return [*experts, Request(evaluator.model(recipe), sections, limit, True)]


def _measure(evaluator: Evaluator, recipe: MergeRecipe, _: Options, limit: Limit, progress: Progress | None) -> Drift:
    return measure_drift(evaluator, recipe, limit=limit, progress=progress)


# --- what it says -----------------------------------------------------------------------------------------


def _distance(answer: Answer[Drift]) -> str:
    return str(answer.options["distance"])


def drift_of_sides(answer: Answer[Drift]) -> pd.DataFrame:
    """Return one row per expert set and task: the drift table, `distance`, and for the RI set also the change."""
    distance = _distance(answer)
    stacked = answer.stacked(lambda drift: drift.table(distance)).assign(distance=distance)
    change = drift_changes(answer.results, distance)
    if change is None:
        return stacked
    paired = change.drop(columns="n").assign(experts=answer.recipes.last.experts)
    return stacked.merge(paired, on=["experts", "task"], how="left")


def _tables(answer: Answer[Drift]) -> dict[str, pd.DataFrame]:
    return {"drift": drift_of_sides(answer)}


def _charts(answer: Answer[Drift], dark: bool) -> dict[str, Chart]:
    distance, sides = _distance(answer), answer.results
    chart = drift_by_task(
        sides.map(lambda drift: drift.table(distance)),
        drift_changes(sides, distance),
        DISTANCES[distance].unit,
        dark=dark,
    )
    how = "Shorter is better: at zero the merged model predicts like the task's original expert."
    if sides.after is not None:
        how += (
            " The second panel shows the change, each image paired with itself: RI reduced the drift where a point is "
            "left of the line; open grey points show no clear change."
        )
    drift = sides.before
    return {"drift": Chart(chart, how, n=reading.based_on(drift.n, len(drift.tasks), drift.full, answer.limit))}


def _says(answer: Answer[Drift]) -> str:
    distance, sides = _distance(answer), answer.results
    unit, means = DISTANCES[distance].unit, [float(drift.table(distance)["drift"].mean()) for drift in sides]
    if sides.after is None:
        return f"Mean drift over the tasks: **{means[0]:.3g}** ({unit})."
    text = f"Mean drift over the tasks: **{means[0]:.3g}** before RI, **{means[1]:.3g}** after"
    if not paired_change(sides.before.values(distance), sides.after.values(distance)).clear:
        return f"{text} ({unit}): {words.NO_CLEAR_CHANGE}."
    return f"{text} ({unit}{words.times_less(*means)})."


DISTANCE = Option(
    "distance",
    "how far apart the outputs of the expert and of the merged model are",
    "kl",
    label="distance between outputs",
    choices=tuple(DISTANCES),
    titles=tuple(distance.title for distance in DISTANCES.values()),
    notes=tuple(
        f"{each.meaning} ({each.reference})" if each.reference else each.meaning for each in DISTANCES.values()
    ),
)

ANALYSIS = Analysis(
    name="drift",
    title="How far each task has drifted",
    question="How far are the merged model's outputs on each task from those of the task's original expert?",
    formula=r"""Drift of the merged model $\theta_m$ on task $t$, by a distance $d$ of the outputs of one image:

$$\mathbb{E}_{x\sim D_t}\; d\big(h_t f(x;\theta_t),\; h_t f(x;\theta_m)\big)$$

With $d$ the KL divergence of the softmaxes it is the interference $\xi_t$. $D_t$ are the task's own test images,
$\theta_t$ is its original expert.""",
    options=(DISTANCE,),
    measure=_measure,
    requests=_requests,
    kept=KEPT,
    limits=(FIRST_LOOK, 512),
    tables=_tables,
    charts=_charts,
    says=_says,
    columns={
        "drift": Columns(
            "an expert set and a task",
            {
                "experts": "",
                "task": "",
                "distance": "`kl`, `js`, `disagreement`, `cosine` or `l1`",
                "drift": "its mean: nats, a share of images, 1 − cosine, or L1; bootstrap over images, Wilson for "
                "shares",
                "change": "after − before RI, paired image by image; empty for `original`",
                "n": "",
            },
        )
    },
    contract={"drift": lambda drift: {name: rows(drift.table(name)) for name in DISTANCES}},
    place=10,
)
