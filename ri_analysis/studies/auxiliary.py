"""Which images should RI see? Gain by auxiliary source, against how near the source is to the tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ri_analysis.engine.evaluator import Evaluator, Progress
from ri_analysis.engine.points import Bench
from ri_analysis.figures import look, words
from ri_analysis.files import digest
from ri_analysis.hyperparameters import Value
from ri_analysis.statistics import frechet_distance
from ri_analysis.studies.adapted import SHARED, Variant, compare, gains, run_of
from ri_analysis.studies.study import Chart, Rounds, Study
from ri_analysis.suite import ImageSet, stratified

_IMAGES = 512  # of a source, and of a task, whose features the distance is computed from


@dataclass(frozen=True)
class Nearness:
    """How near an auxiliary source is to the tasks: the Fréchet distance of pretrained features, mean over tasks."""

    source: str

    def kept(self, bench: Bench) -> float | None:
        """See Work."""
        arrays = bench.evaluator.store.get(self._key(bench))
        return None if arrays is None else float(arrays["distance"])

    def blank(self, bench: Bench) -> float:
        """See Work."""
        return 0.0

    def images(self, bench: Bench) -> int:
        """See Work."""
        return sum(min(_IMAGES, len(images)) for images in self._sets(bench))

    def held(self, bench: Bench) -> dict[str, int]:
        """See Work."""
        return {}  # each batch is read when it is looked at

    def carry_out(self, bench: Bench, progress: Progress | None = None) -> float:
        """See Work."""
        sets = [(images, stratified(images.labels, len(images), _IMAGES)) for images in self._sets(bench)]
        total = self.images(bench)
        weights = bench.evaluator.suite.zero_shot
        source, *tasks = bench.evaluator.encoder.features_of_many(
            weights, sets, progress=None if progress is None else lambda done: progress(done, total)
        )
        return float(np.mean([frechet_distance(source.numpy(), features.numpy()) for features in tasks]))

    def keep(self, bench: Bench, result: float, seconds: float) -> None:
        """See Work."""
        bench.evaluator.store.put(self._key(bench), {"distance": np.array(result)})

    def _sets(self, bench: Bench) -> list[ImageSet]:
        suite = bench.evaluator.suite
        return [suite.auxiliary_data(self.source), *(suite.task_data(task) for task in suite.tasks)]

    def _key(self, bench: Bench) -> str:
        images = [item.digest for item in self._sets(bench)]
        fingerprint = bench.evaluator.architecture.fingerprint
        return digest("nearness", str(_IMAGES), fingerprint, bench.evaluator.suite.pretrained.digest, *images)


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    sources = {item.name: item for item in evaluator.suite.spec.auxiliary}
    near: list[float] = yield [Nearness(name) for name in sources]
    tasks = evaluator.suite.tasks
    variants = [
        Variant(
            {
                "source": name,
                "oracle": item.oracle,
                "source_images": len(evaluator.suite.auxiliary_data(name)),
                "distance": distance,
            },
            tasks,
            run_of(evaluator, settings, auxiliary=name),
        )
        for (name, item), distance in zip(sources.items(), near, strict=True)
    ]
    return (yield from compare(evaluator, settings, variants))


def _charts(table: pd.DataFrame, dark: bool) -> dict[str, Chart]:
    figure, colours = go.Figure(), look.task_colours(list(dict.fromkeys(table["title"])))
    for title, part in table.groupby("title", sort=False):
        figure.add_scatter(
            x=part["distance"],
            y=part["gain"],
            error_y=look.error_bar(part, "gain", "gain_low", "gain_high", colours[str(title)]),
            mode="markers+text",
            text=part["source"] if title == table["title"].iloc[0] else None,
            textposition="top center",
            marker={"size": 10, "color": colours[str(title)]},
            name=str(title),
        )
    look.finish(figure, dark=dark, height=420)
    figure.update_layout(margin_t=60, legend={"y": 1.04})
    figure.update_xaxes(title="Fréchet distance of pretrained features, source to tasks (mean over tasks)")
    figure.update_yaxes(title="change of mean accuracy by RI", tickformat="+.0%")
    text = (
        "Each point is RI on one source, merged at the default λ: left is nearer to the tasks' images, up is more "
        f"gain. Rests on {words.count(int(table['n'].iloc[0]), 'test image')}; bars show 95% intervals."
    )
    return {"auxiliary": Chart(figure, text)}


def _verdict(table: pd.DataFrame) -> str:
    mean = table.groupby("source", sort=False)[["gain", "distance"]].mean().sort_values("gain", ascending=False)
    listed = ", ".join(f"{name} {words.points(row['gain'])}" for name, row in mean.iterrows())
    order = float(mean["gain"].rank().corr(mean["distance"].rank())) if len(mean) > 2 else float("nan")
    rank = "" if np.isnan(order) else f" Rank correlation of gain with distance: {order:.2f}.".replace("-", "−")
    return f"Mean change over the methods: {listed}.{rank}"


STUDY = Study(
    "auxiliary",
    "Auxiliary sources",
    "Which auxiliary images help most, and do nearer ones help more?",
    "8 tasks, TSV-M: Gaussian noise +0.4, synthetic shapes +1.1, ImageNet +1.5, COCO and OpenImages +1.8, task data "
    "(oracle) +3.3.",
    _rounds,
    _charts,
    lambda table: gains(table, ["source", "source_images", "distance"]),
    _verdict,
    SHARED,
)
