"""Which images should RI see, and how many? Gain by auxiliary source and its nearness, and by number of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ri_analysis.divergences import frechet_distance
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.sections import usual_source
from ri_analysis.figures import look, spread, words
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.compared import along
from ri_analysis.files import digest
from ri_analysis.hyperparameters import Hyperparameter, Value, listed
from ri_analysis.progress import Progress
from ri_analysis.studies.adapted import SHARED, Variant, compare, gains, runs_of
from ri_analysis.studies.study import Rounds, Study
from ri_analysis.studies.verdicts import in_points, mean_over
from ri_analysis.suite import ImageSet, stratified

_IMAGES = 512  # of a source, and of a task, whose features the distance is computed from


@dataclass(frozen=True)
class Nearness:
    """How near an auxiliary source is to the tasks: the Fréchet distance of pretrained features, mean over tasks."""

    source: str

    def kept(self, evaluator: Evaluator) -> float | None:
        """See Work."""
        arrays = evaluator.store.get(self._key(evaluator))
        return None if arrays is None else float(arrays["distance"])

    def unknown(self, evaluator: Evaluator) -> float:
        """See Work."""
        return 0.0

    def cost(self, evaluator: Evaluator) -> int:
        """See Work."""
        return sum(min(_IMAGES, len(images)) for images in self._sets(evaluator))

    def bytes_held(self, evaluator: Evaluator) -> int:
        """See Work."""
        return 0  # each batch is read when it is looked at

    def compute(self, evaluator: Evaluator, progress: Progress | None = None) -> float:
        """See Work."""
        sets = [(images, stratified(images.labels, len(images), _IMAGES)) for images in self._sets(evaluator)]
        weights = evaluator.suite.zero_shot
        source, *tasks = evaluator.encoder.features_of_many(weights, sets, progress=progress)
        return float(np.mean([frechet_distance(source.numpy(), features.numpy()) for features in tasks]))

    def keep(self, evaluator: Evaluator, result: float, seconds: float) -> None:
        """See Work."""
        evaluator.store.put(self._key(evaluator), {"distance": np.array(result)})

    def _sets(self, evaluator: Evaluator) -> list[ImageSet]:
        suite = evaluator.suite
        return [suite.auxiliary_data(self.source), *(suite.task_data(task) for task in suite.tasks)]

    def _key(self, evaluator: Evaluator) -> str:
        images = [item.digest for item in self._sets(evaluator)]
        fingerprint = evaluator.architecture.fingerprint
        return digest("nearness", str(_IMAGES), fingerprint, evaluator.suite.pretrained.digest, *images)


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    sources = {item.name: item for item in evaluator.suite.spec.auxiliary}
    near: list[float] = yield [Nearness(name) for name in sources]
    tasks = evaluator.suite.tasks
    distances = dict(zip(sources, near, strict=True))
    sizes = {name: len(evaluator.suite.auxiliary_data(name)) for name in sources}
    usual = usual_source(evaluator.suite)
    asked: list[tuple[str, int | None]] = [(name, None) for name in sources]
    asked += [(usual, count) for count in sorted(map(int, listed(settings["counts"]))) if count < sizes[usual]]
    variants = [
        Variant(
            {
                "source": name,
                "oracle": sources[name].oracle,
                "source_images": sizes[name],
                "images": sizes[name] if count is None else count,
                "distance": distances[name],
            },
            tasks,
            runs_of(evaluator, settings, auxiliary=name, count=count),
        )
        for name, count in asked
    ]
    return (yield from compare(evaluator, settings, variants))


def _whole(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of which RI saw the whole source."""
    return table[table["images"] == table["source_images"]]


def _by_count(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the source of which RI also saw fewer images; none where there is no such."""
    fewer = table.loc[table["images"] < table["source_images"], "source"]
    return table[table["source"].isin(fewer)]


def _charts(table: pd.DataFrame, dark: bool) -> dict[str, Chart]:
    n = f"Based on {words.count(int(table['n'].iloc[0]), 'test image')}. {spread.caption(table)}"
    text = (
        "Each point is RI on one source, merged at the default λ. Further left: the source is more similar to the "
        f"tasks' images; further up: RI gains more; 0 is before RI. {n}"
    )
    charts = {"auxiliary": Chart(_by_distance(_whole(table), dark), text)}
    counted = _by_count(table)
    if len(counted):
        figure = along(
            counted,
            "images",
            x_title="auxiliary images",
            y="gain",
            y_title="change in mean accuracy by RI (points)",
            log=True,
            dark=dark,
        )
        figure.update_yaxes(rangemode="tozero")
        text = (
            f"RI on subsets of the images of {counted['source'].iloc[0]}; the last point uses all. The number of steps "
            "is the same, so only the variety of the images grows to the right. Smaller subsets are contained in "
            f"larger ones of the same seed. Merged at the default λ; 0 is before RI. {n}"
        )
        charts["auxiliary-images"] = Chart(figure, text)
    return charts


def _by_distance(table: pd.DataFrame, dark: bool) -> go.Figure:
    figure, colours = go.Figure(), look.task_colours(list(dict.fromkeys(table["title"])), dark=dark)
    for title, part in table.groupby("title", sort=False):
        colour, name, shown = colours[str(title)], str(title), spread.on_axis(part, "gain")
        spread.add_seeds(figure, shown, "gain", colour, part["distance"], vertical=True, legendgroup=name)
        figure.add_scatter(
            x=shown["distance"],
            y=shown["gain"],
            error_y=look.error_bar(shown, "gain", "gain_low", "gain_high", colour),
            mode="markers+text",
            text=part["source"] if title == table["title"].iloc[0] else None,
            # To the left and the right in turn: two sources may be equally near.
            textposition=[
                "middle left" if place % 2 else "middle right" for place in part["distance"].rank(method="first")
            ],
            marker={"size": 10, "color": colour},
            name=name,
            legendgroup=name,
            hovertext=[
                f"<b>{name}</b>, {row['source']}<br>{spread.hover(row, 'gain')}"
                for row in part.to_dict(orient="records")
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    look.finish(figure, dark=dark, height=420)
    figure.update_layout(margin_t=60, legend={"y": 1.04})
    figure.update_xaxes(title="Fréchet distance of pretrained features, source to tasks (mean over tasks)")
    return figure.update_yaxes(title="change in mean accuracy by RI (points)", **look.SIGNED)


def _verdict(table: pd.DataFrame) -> str:
    columns = ["gain", "distance"]
    mean = _whole(table).groupby("source", sort=False)[columns].mean().sort_values("gain", ascending=False)
    parts = dict(iter(_whole(table).groupby("source", sort=False)))
    listed = ", ".join(f"{name} {in_points(mean_over(parts[name], 'gain'))}" for name in mean.index)
    order = float(mean["gain"].rank().corr(mean["distance"].rank())) if len(mean) > 2 else float("nan")
    rank = "" if np.isnan(order) else f" Rank correlation between change and distance: {words.signed(order, '.2f')}."
    return f"Change by RI, mean over methods: {listed}.{rank}{_verdict_on_counts(_by_count(table))}"


def _verdict_on_counts(table: pd.DataFrame) -> str:
    if table.empty:
        return ""
    parts = table.groupby("images")
    listed = ", ".join(f"{in_points(mean_over(part, 'gain'))} with {count:,}" for count, part in parts)
    return f" By number of images of {table['source'].iloc[0]}, with the same number of steps: {listed}."


STUDY = Study(
    "auxiliary",
    "Auxiliary sources",
    "Which auxiliary images help most, do images more similar to the tasks' help more, and how many are enough?",
    "8 tasks, TSV-M, in points: Gaussian noise +0.4, synthetic shapes +1.1, ImageNet +1.5, COCO and OpenImages +1.8, "
    "task data (oracle) +3.3.",
    _rounds,
    _charts,
    lambda table: gains(table, ["source", "images", "distance"]),
    _verdict,
    (
        Hyperparameter(
            "counts",
            "numbers of images to try, from the source that the suite's own RI set was made with",
            "64,256,1024",
            each=Hyperparameter("count", "auxiliary images", 64, 1, 100_000_000),
            label="numbers of auxiliary images",
        ),
        *SHARED,
    ),
    version="1",
)
