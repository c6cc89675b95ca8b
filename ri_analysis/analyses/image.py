"""One image, closely: what every model answers, how surely, and after which block the merged one departs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ri_analysis.analyses.analysis import Analysis, Answer, Columns, Limit, Option, Options, rows
from ri_analysis.encoder import Trace
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.models import PRETRAINED, Model
from ri_analysis.engine.outcomes import labels
from ri_analysis.engine.results import Kept, packed_table, table_of
from ri_analysis.errors import InputError
from ri_analysis.figures import look, words
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.one_image import answers, departures
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Counter, Progress

TOP = 5  # classes of each model
MODELS = ("zero_shot", "expert", "merged")


@dataclass(frozen=True)
class Closely:
    """What one side's models make of an image.

    `classes` has one row a class of the task: `class`, `right`, and each model's probability of it; `blocks` one row a
    transformer block: `block` (1 is the first), and `drift`, 1 − cosine of the class tokens of merged model and expert.
    """

    classes: pd.DataFrame
    blocks: pd.DataFrame


def _measure(
    evaluator: Evaluator, recipe: MergeRecipe, options: Options, _: Limit, progress: Progress | None
) -> Closely:
    task, index = str(options["task"]), int(options["index"])
    images, head = evaluator.suite.task_data(task), evaluator.heads[task]
    if index >= len(images):
        raise InputError(f"image: {task} has images 0 to {len(images) - 1:,}, found index {index}")
    models = [evaluator.measurement.reference(PRETRAINED), evaluator.expert(task), evaluator.model(recipe)]
    counter = Counter(progress, len(models))
    models[-1].prepare(counter.first())
    traces = [_trace(evaluator, model, task, index, counter) for model in models]
    label = labels(evaluator.sections((task,))[0])[index]
    classes = pd.DataFrame({"class": list(head.classes), "right": np.arange(len(head.classes)) == label})
    for name, trace in zip(MODELS, traces, strict=True):
        classes[name] = head.logits(trace.features).softmax(dim=1)[0].double().numpy()
    own, merged = (trace.tokens[:, 0].double() for trace in traces[1:])
    apart = 1 - (own * merged).sum(dim=1) / (own.norm(dim=1) * merged.norm(dim=1))
    return Closely(classes, pd.DataFrame({"block": np.arange(1, len(apart) + 1), "drift": apart.numpy()}))


def _trace(evaluator: Evaluator, model: Model, task: str, index: int, counter: Counter) -> Trace:
    chosen, weights = [(evaluator.suite.task_data(task), [index])], model.weights(counter.alive)
    if evaluator.encoder.blocks:
        [found] = evaluator.encoder.block_tokens_of_many(weights, chosen, source=model.name)
    else:
        [features] = evaluator.encoder.features_of_many(weights, chosen, source=model.name)
        found = Trace(features.new_zeros(0, 1, 1), features)
    counter.advance(1)
    return found


# --- what it says -----------------------------------------------------------------------------------------


def answer_table(answer: Answer[Closely]) -> pd.DataFrame:
    """Return one row for the right class and each that is among some model's first five, the expert's first on top.

    Columns: `class`, `right`, and the probabilities `zero_shot`, `expert`, `before` and, with an RI set, `after`.
    """
    table = answer.results.before.classes.drop(columns="merged")
    for stage, side in answer.results.stages.items():
        table = table.assign(**{stage: side.classes["merged"]})
    models = list(table.columns[2:])
    first = {row for model in models for row in table[model].nlargest(TOP).index} | set(table.index[table["right"]])
    chosen = table.loc[sorted(first)]
    return chosen.sort_values("expert", ascending=False, kind="stable", ignore_index=True)


def _tables(answer: Answer[Closely]) -> dict[str, pd.DataFrame]:
    blocks = answer.stacked(lambda side: side.blocks)
    return {"image-answers": answer_table(answer)} | ({"image-blocks": blocks} if len(blocks) else {})


def _charts(answer: Answer[Closely], dark: bool) -> dict[str, Chart]:
    table = answer_table(answer)
    roles = {"zero_shot": look.ZERO_SHOT, "expert": look.EXPERT, "before": look.BEFORE, "after": look.AFTER}
    found = {
        "image-answers": Chart(
            answers(table, {name: role for name, role in roles.items() if name in table}, dark=dark),
            f"Each model's class probabilities: the top {TOP} classes of every model, in the expert's order; ✓ marks "
            "the right class.",
            n="Based on this image alone.",
            half=True,
        )
    }
    if len(answer.results.before.blocks):
        found["image-blocks"] = Chart(
            departures(answer.results.map(lambda side: side.blocks), dark=dark),
            "How far the merged model's class token of this image is from the expert's after each block: where the "
            "line rises, they diverge.",
            n="Based on this image alone.",
            half=True,
        )
    return found


def _says(answer: Answer[Closely]) -> str:
    table, (task, index) = answer_table(answer), (answer.options["task"], answer.options["index"])
    [truth], said = table.loc[table["right"], "class"], []
    for name in table.columns[2:]:
        row = table.iloc[int(table[str(name)].argmax())]
        mark = " ✓" if row["right"] else ""
        said.append(f"{_MODEL[str(name)]} **{row['class']}**{mark} ({words.percent(row[name], 0)})")
    return f"Image {index} of {task} is {truth}. {'; '.join(said)}."


_MODEL = {
    "zero_shot": "Zero-shot predicts",
    "expert": "the expert",
    "before": "merged before RI",
    "after": "merged after RI",
}


def _pack(closely: Closely) -> dict[str, np.ndarray]:
    return {"classes": packed_table(closely.classes), "blocks": packed_table(closely.blocks)}


ANALYSIS = Analysis(
    name="image",
    title="One image in detail",
    question="What does each model predict for one image, how confidently, and where in the tower do they diverge?",
    formula=r"""$p = \operatorname{softmax}\,h_t f(x;\theta)$ of one image $x$ of task $t$, for the pretrained model,
the task's expert and the merged models; and $1-\cos(z_b(x;\theta_t), z_b(x;\theta_m))$ of the class tokens $z_b$ after
block $b$ (the mean over tokens where there is none).""",
    options=(
        Option("task", "the task whose image it is", "", task=0, measured=True),
        Option("index", "place of the image in the task's test set, from 0", 0, 0, 10_000_000, measured=True),
    ),
    measure=_measure,
    kept=Kept("image", "1", _pack, lambda found: Closely(table_of(found["classes"]), table_of(found["blocks"]))),
    tables=_tables,
    charts=_charts,
    says=_says,
    columns={
        "image-answers": Columns(
            "the right class, or one among some model's first five",
            {
                "class": "",
                "right": "whether it is the image's class",
                "zero_shot": "its probability under the pretrained model",
                "expert": "its probability under the task's original expert",
                "before": "its probability under the merged model before RI",
                "after": "its probability under the merged model after RI",
            },
        ),
        "image-blocks": Columns(
            "an expert set and a transformer block",
            {
                "experts": "",
                "block": "1 is the first",
                "drift": "1 − cosine of the image's class tokens under merged model and expert",
            },
        ),
    },
    contract={"answers": lambda found: rows(found.classes), "drift_by_block": lambda found: rows(found.blocks)},
    page="",
)
