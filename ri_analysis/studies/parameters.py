"""Which of an expert's weights should RI train? Gains, experts' own accuracy, crosstalk, and what a step costs."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ri_analysis.engine.evaluation import paired_differences
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.grids import best_of
from ri_analysis.engine.outcomes import Outcomes, Section
from ri_analysis.engine.sections import CROSSTALK, VALIDATION
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.figures import look, spread, words
from ri_analysis.figures.chart import Chart
from ri_analysis.files import digest
from ri_analysis.hyperparameters import Hyperparameter, Value, listed
from ri_analysis.progress import Counter, Progress
from ri_analysis.resolving import HYPERPARAMETERS, Losses, resolve
from ri_analysis.studies.adapted import IMAGES, SEEDS, STEPS, Variant, compare, gains, point_of, runs_of
from ri_analysis.studies.conducting.adaptation import Adaptation
from ri_analysis.studies.conducting.point import Point
from ri_analysis.studies.conducting.work import Work, ri_settings
from ri_analysis.studies.study import Rounds, Study, method_names, methods, over_seeds
from ri_analysis.studies.verdicts import in_points, mean_over
from ri_analysis.suite import ORIGINAL
from ri_analysis.training.parameters import CHOICES, trained_weights

_TIMED = 8  # steps that are timed, of which the first sets up what the others use

Changed = dict[str, Any]
"""RI settings that differ from the suite's."""
Choices = Mapping[str, Changed]
"""What is trained, in words, with the settings that say so."""


@dataclass(frozen=True)
class Alone(Point):
    """An expert by itself, seen through the heads of all the tasks `seen`."""

    seen: tuple[str, ...] = ()

    def sections(self, evaluator: Evaluator) -> tuple[Section, ...]:
        """See Point."""
        return evaluator.sections(self.seen, self.on)


@dataclass(frozen=True)
class StepTime:
    """The CPU-seconds that a step of an RI run takes here, the least of a few; on a GPU the time of the processor."""

    run: Adaptation

    def kept(self, evaluator: Evaluator) -> float | None:
        """See Work."""
        arrays = evaluator.store.get(self._key(evaluator))
        return None if arrays is None else float(arrays["seconds"])

    def unknown(self, evaluator: Evaluator) -> float:
        """See Work."""
        return 0.0

    def cost(self, evaluator: Evaluator) -> int:
        """See Work."""
        return 3 * _TIMED * int(ri_settings(evaluator, self.run.settings)["batch"])

    def bytes_held(self, evaluator: Evaluator) -> int:
        """See Work."""
        return 0  # as few images as a step takes

    def compute(self, evaluator: Evaluator, progress: Progress | None = None) -> float:
        """Begin a run with the first expert, and leave it after a few steps."""
        moments, run, counter = list[float](), self.run, Counter(progress, _TIMED)

        def note(_: Losses) -> None:
            moments.append(time.process_time())
            counter.advance(1)
            if len(moments) == _TIMED:
                raise Cancelled("enough")

        with TemporaryDirectory() as folder, suppress(Cancelled):
            resolve(
                evaluator.suite,
                auxiliary=run.auxiliary,
                name="timed",
                images=int(ri_settings(evaluator, run.settings)["batch"]),
                settings=dict(run.settings) | {"steps": _TIMED},
                tasks=run.tasks,
                directory=Path(folder) / "timed",
                device=evaluator.device,
                report=note,
            )
        counter.alive()  # may have been cancelled from outside
        return float(np.diff(moments).min())

    def keep(self, evaluator: Evaluator, result: float, seconds: float) -> None:
        """See Work."""
        evaluator.store.put(self._key(evaluator), {"seconds": np.array(result)})

    def _key(self, evaluator: Evaluator) -> str:
        settings = {**ri_settings(evaluator, self.run.settings), "steps": _TIMED}
        about = [settings, self.run.tasks, self.run.auxiliary, str(evaluator.device), _TIMED]
        digests = evaluator.architecture.fingerprint, evaluator.suite.pretrained.digest
        return digest("step time", json.dumps(about, sort_keys=True), *digests)


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    tasks, choices = evaluator.suite.tasks, _choices(evaluator, settings)
    rates = yield from _best_rates(evaluator, settings, choices)
    variants = [Variant({"trained": "none", "rate": float("nan")}, tasks)]
    variants += [
        Variant(
            {"trained": label, "rate": rates[label]}, tasks, runs_of(evaluator, settings, lr=rates[label], **changed)
        )
        for label, changed in choices.items()
    ]
    table = yield from compare(evaluator, settings, variants, rival=variants[1])
    alone = yield from _alone(evaluator, settings, variants)
    timed = [StepTime(variant.runs[0]) for variant in variants[1:]]
    seconds = [float("nan"), *(yield timed)]
    columns = [row | {"step_seconds": step} for row, step in zip(alone, seconds, strict=True)]
    return table.merge(pd.DataFrame(columns), on="trained", how="left")


def _choices(evaluator: Evaluator, settings: Mapping[str, Value]) -> Choices:
    """Return what may be trained of this tower, all weights first."""
    titles = next(item for item in HYPERPARAMETERS if item.name == "parameters").titled
    whole = [name for name in CHOICES if name not in ("last-blocks", "lora")]
    found: dict[str, Changed] = {titles[name]: {"parameters": name} for name in whole}
    for count in map(int, listed(settings["blocks"])):
        label = "last block" if count == 1 else f"last {count} blocks"
        found[label] = {"parameters": "last-blocks", "blocks": count}
    for rank in map(int, listed(settings["ranks"])):
        found[f"LoRA, rank {rank}"] = {"parameters": "lora", "rank": rank}
    return {label: changed for label, changed in found.items() if _has(evaluator, changed)}


def _has(evaluator: Evaluator, changed: Changed) -> bool:
    try:
        return bool(trained_weights(evaluator.encoder, ri_settings(evaluator, changed.items())))
    except InputError:
        return False


def _best_rates(
    evaluator: Evaluator, settings: Mapping[str, Value], choices: Choices
) -> Generator[Sequence[Work], list[Any], dict[str, float]]:
    """Return for each choice the learning rate whose merges are the most accurate on validation images."""
    rates, names = sorted(map(float, listed(settings["rates"]))), method_names(settings)
    runs = {
        (label, rate): runs_of(evaluator, {**settings, SEEDS.name: 1}, lr=rate, **changed)[0]
        for label, changed in choices.items()
        for rate in rates
    }
    sets: list[str] = yield list(runs.values())
    points = {
        (key, name): replace(point_of(evaluator, settings, name, run.tasks, experts, run.seed), on=VALIDATION)
        for (key, run), experts in zip(runs.items(), sets, strict=True)
        for name in names
    }
    outcomes: dict[Any, Outcomes] = dict(zip(points, (yield list(points.values())), strict=True))
    scores = {key: fmean(outcomes[key, name].accuracy for name in names) for key in runs}
    return {label: best_of({rate: scores[label, rate] for rate in rates}) for label in choices}


def _alone(
    evaluator: Evaluator, settings: Mapping[str, Value], variants: Sequence[Variant]
) -> Generator[Sequence[Work], list[Any], list[dict[str, object]]]:
    """Return for each variant `over_seeds` of its experts' own accuracy, how RI changed it, and their crosstalk."""
    tasks, limit = evaluator.suite.tasks, int(settings[IMAGES.name])
    sets = [[run.name(evaluator) for run in variant.runs] or [ORIGINAL] for variant in variants]
    names = list(dict.fromkeys(name for found in sets for name in found))
    recipes = {task: evaluator.recipe("averaging", tasks=(task,)) for task in tasks}  # of one expert: itself
    points = {
        (name, task): Alone(recipes[task].with_experts(name), CROSSTALK, limit, tasks)
        for name in names
        for task in tasks
    }
    outcomes: dict[Any, Outcomes] = dict(zip(points, (yield list(points.values())), strict=True))
    own = {name: {task: outcomes[name, task].correct[task] for task in tasks} for name in names}
    crosstalk = {
        name: {
            f"{task} on {other}": outcomes[name, task].divergence[other]
            for task in tasks
            for other in tasks
            if other != task
        }
        for name in names
    }
    return [
        {"trained": variant.columns["trained"]}
        | over_seeds("own", [own[name] for name in found])
        | over_seeds("own_change", [paired_differences(own[ORIGINAL], own[name]) for name in found])
        | over_seeds("crosstalk", [crosstalk[name] for name in found])
        for variant, found in zip(variants, sets, strict=True)
    ]


# --- what is shown ------------------------------------------------------------------------------------------


def _charts(table: pd.DataFrame, dark: bool) -> dict[str, Chart]:
    text = (
        "Change in mean accuracy by RI at the default λ, for each choice of weights that RI trains; below its name is "
        "the CPU time per step on this machine. Further right is better. "
        f"Based on {words.count(int(table['n'].iloc[0]), 'test image')}. {spread.caption(table)}"
    )
    return {"parameters": Chart(_by_choice(table[table["stage"] == "after"], dark), text)}


def _by_choice(table: pd.DataFrame, dark: bool) -> go.Figure:
    figure, labels, titles = go.Figure(), list(dict.fromkeys(table["trained"])), list(dict.fromkeys(table["title"]))
    colours = look.task_colours(titles)
    for number, title in enumerate(titles):
        part, colour = spread.on_axis(table[table["title"] == title], "gain"), colours[title]
        places = [labels.index(label) + 0.14 * (number - (len(titles) - 1) / 2) for label in part["trained"]]
        spread.add_seeds(figure, part, "gain", colour, places, vertical=False, legendgroup=title)
        figure.add_scatter(
            x=part["gain"],
            y=places,
            error_x=look.error_bar(part, "gain", "gain_low", "gain_high", colour),
            mode="markers",
            marker={"size": 8, "color": colour},
            name=title,
            legendgroup=title,
            hovertext=[
                f"<b>{title}</b>, {row['trained']}<br>{spread.hover(row, 'gain')}"
                for row in table[table["title"] == title].to_dict(orient="records")
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    look.finish(figure, dark=dark, height=110 + 52 * len(labels))
    steps = [f"{label}<br>{_milliseconds(part.iloc[0])}" for label, part in _by_label(table).items()]
    figure.update_yaxes(tickvals=list(range(len(labels))), ticktext=steps, range=[len(labels) - 0.5, -0.5])
    figure.update_yaxes(showgrid=False, zeroline=False)
    return figure.update_xaxes(title="change in mean accuracy by RI (points)", tickformat="+")


def _by_label(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each choice."""
    return {str(label): part for label, part in table.groupby("trained", sort=False)}


def _milliseconds(row: Mapping[Hashable, Any] | pd.Series) -> str:
    return f"{words.significant(1000 * row['step_seconds'], 3)} ms"


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    rows = table.to_dict(orient="records")
    cells: dict[str, Any] = {
        "trained": table["trained"],
        "learning rate": [words.setting(row["rate"]) for row in rows],
        "experts' own accuracy": [spread.cell(row, "own_change") for row in rows],
        "crosstalk": [spread.cell(row, "crosstalk") for row in rows],
        "CPU time a step": [_milliseconds(row) for row in rows],
    }
    return gains(table.assign(**cells), list(cells))


def _verdict(table: pd.DataFrame) -> str:
    parts = _by_label(table[table["stage"] == "after"])
    whole, *others = parts
    first = {label: part.iloc[0] for label, part in parts.items()}
    beside = ", ".join(f"{label} {in_points(mean_over(parts[label], 'lead'))}" for label in others)
    own, crosstalk, cost = (
        sorted(first, key=lambda label, name=name: float(first[label][name]))  # type: ignore[misc]
        for name in ("own_change", "crosstalk", "step_seconds")
    )
    before = words.nats(float(table.loc[table["stage"] == "before", "crosstalk"].iloc[0]))
    share = words.percent(first[cost[0]]["step_seconds"] / first[whole]["step_seconds"], 0)
    return (
        f"Training {whole} changes accuracy at the default λ by {in_points(mean_over(parts[whole], 'gain'))}, mean "
        f"over methods. Compared with it, on the same images: {beside}. Experts' accuracy on their own tasks changes "
        f"by {words.points(first[own[0]]['own_change'])} ({own[0]}) to {words.points(first[own[-1]]['own_change'])} "
        f"({own[-1]}). Crosstalk, {before} before RI, becomes {words.nats(first[crosstalk[0]]['crosstalk'])} "
        f"({crosstalk[0]}) to {words.nats(first[crosstalk[-1]]['crosstalk'])} ({crosstalk[-1]}). The cheapest step "
        f"({cost[0]}) takes {share} of the CPU time of a step that trains {whole}."
    )


STUDY = Study(
    "parameters",
    "Which weights RI trains",
    "Which of an expert's weights should RI train, and what does each choice cost?",
    "",
    _rounds,
    _charts,
    _summary,
    _verdict,
    (
        methods("task-arithmetic", "ties", "tsv-m", "iso-c", "iso-cts"),
        Hyperparameter(
            "blocks",
            "numbers of last blocks to train; more blocks than the tower has are left out",
            "1,2,3",
            each=Hyperparameter("block", "blocks", 1, 1, 1000),
            label="trained last blocks",
        ),
        Hyperparameter(
            "ranks",
            "ranks of LoRA's updates to try",
            "4,16",
            each=Hyperparameter("rank", "rank", 4, 1, 4096),
            label="LoRA ranks",
        ),
        Hyperparameter(
            "rates",
            "learning rates to try for each choice, with the first seed; the best on validation images is used",
            "1e-4,3e-4,1e-3",
            each=Hyperparameter("rate", "learning rate", 1e-4, 1e-9, 1.0),
            label="learning rates",
        ),
        replace(STEPS, default=50),
        IMAGES,
        SEEDS,
    ),
    version="1",
)
