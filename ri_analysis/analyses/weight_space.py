"""Weight space: how far experts overlap in their weights, and whether that predicts who disturbs whom."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ri_analysis.analyses.analysis import FIRST_LOOK, Analysis, Answer, Columns, Limit, Option, Options, rows
from ri_analysis.analyses.geometry import Geometry, weight_geometry
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.gram import Gram
from ri_analysis.engine.results import Kept, packed_table, packed_text, table_of, text_of
from ri_analysis.engine.sealing import Arrays
from ri_analysis.figures import look, words
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.experts import HOW_COSINES, cosine_matrices
from ri_analysis.measures.correlation import Correlation
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Parts, Progress
from ri_analysis.sides import Sides

QUICK = 5_000_000  # parameters up to which the weight space is worked out unasked


@dataclass(frozen=True)
class WeightSpace:
    """The weight space of an expert set, beside its measured crosstalk."""

    geometry: Geometry
    crosstalk: pd.DataFrame
    _correlations: dict[str, Correlation] = field(default_factory=dict, repr=False)

    def correlation(self, overlap: str) -> Correlation:
        """Return the rank correlation over pairs of `overlap` with crosstalk, computed once."""
        if overlap not in self._correlations:
            self._correlations[overlap] = self.geometry.correlation(self.crosstalk, overlap)
        return self._correlations[overlap]


def _measure(
    evaluator: Evaluator, recipe: MergeRecipe, _: Options, limit: Limit, progress: Progress | None
) -> WeightSpace:
    parts = Parts(progress, 2)
    geometry = weight_geometry(evaluator, recipe.experts, tasks=recipe.tasks, progress=parts.part(0))
    return WeightSpace(
        geometry, evaluator.crosstalk(recipe.experts, tasks=recipe.tasks, limit=limit, progress=parts.part(1))
    )


def _pack(found: WeightSpace) -> Arrays:
    geometry = found.geometry
    tables = {"layers": packed_table(geometry.layers), "crosstalk": packed_table(found.crosstalk)}
    # Drawing lots for a correlation's chance takes longer than all else that is shown.
    tables["correlations"] = packed_text({overlap: found.correlation(overlap) for overlap in _OVERLAPS})
    return {**geometry.gram.arrays, "collision": geometry.collision, **tables}


def _unpack(arrays: Arrays) -> WeightSpace:
    collision = arrays["collision"].astype(np.float64)
    geometry = Geometry(Gram.of(arrays), table_of(arrays["layers"]), collision)
    correlations = {overlap: Correlation(*each) for overlap, each in text_of(arrays["correlations"]).items()}
    return WeightSpace(geometry, table_of(arrays["crosstalk"]), correlations)


def _cost(evaluator: Evaluator, _: MergeRecipe) -> str:
    quick = evaluator.suite.task_vectors().size <= QUICK
    return "" if quick else "Every weight matrix of every expert is decomposed once; the result is saved."


def _tables(answer: Answer[WeightSpace]) -> dict[str, pd.DataFrame]:
    return {
        "weight-cosine": answer.stacked(lambda found: found.geometry.gram.cosine_table()),
        "weight-interference": answer.stacked(lambda found: found.geometry.layers),
        "overlap": answer.stacked(lambda found: found.geometry.against_crosstalk(found.crosstalk)),
    }


def _charts(answer: Answer[WeightSpace], dark: bool) -> dict[str, Chart]:
    if len(answer.tasks) < 2:
        return {}
    overlap, sides = str(answer.options["overlap"]), answer.results
    layers = sides.map(lambda found: found.geometry.layers)
    pairs = sides.map(lambda found: found.geometry.against_crosstalk(found.crosstalk))
    images = words.count(int(sides.before.crosstalk["n"].max()), "image")
    return {
        "weight-cosine": Chart(
            cosine_matrices(sides.map(lambda found: found.geometry.gram.cosine_table()), dark=dark),
            HOW_COSINES,
            "Cosine of task vectors",
            "Based on all parameters of the vision tower, no images.",
        ),
        "weight-interference": Chart(
            layer_interference(layers, dark=dark),
            "Singular task interference relative to Σσ: at 0 the experts' singular directions do not overlap.",
            "Interference in weight space, layer by layer",
            f"Based on all {len(layers.before)} weight matrices that the experts changed, no images.",
            half=True,
        ),
        "overlap": Chart(
            overlap_against_crosstalk(pairs, overlap, _OVERLAPS[overlap], dark=dark),
            "One point per pair of experts: further right they overlap more in weight space, further up they disturb "
            "each other more.",
            "Does overlap in weight space predict crosstalk?",
            f"Based on {words.count(len(pairs.before), 'pair')}, crosstalk on up to {images} each way.",
            half=True,
        ),
    }


def _says(answer: Answer[WeightSpace]) -> str:
    if len(answer.tasks) < 2:
        return "With one expert there is nothing to compare."
    overlap, said = str(answer.options["overlap"]), []
    for stage, found in answer.results.stages.items():
        rho, chance, _ = found.correlation(overlap)
        if rho == rho:
            said.append(f"**{rho:.2f}** {stage} RI ({_by_chance(chance)})".replace("-", "−"))
    if not said:
        return "There are too few pairs of experts for a correlation of overlap with crosstalk."
    return f"Spearman's ρ of {_OVERLAPS[overlap]} with crosstalk: {', '.join(said)}."


def _by_chance(share: float) -> str:
    """Say how often chance alone gives a correlation as strong."""
    return f"a correlation this strong arises by chance in {words.significant(100 * share, 2)}% of cases"


def layer_interference(tables: Sides[pd.DataFrame], *, dark: bool = False) -> go.Figure:
    """Singular task interference of every weight matrix, in the model's order, before and after RI."""
    figure = go.Figure()
    for role, table in look.roles(tables):
        names = [short_name(name) for name in table["layer"]]
        figure.add_scatter(
            x=names,
            y=table["share"],
            mode="lines+markers",
            name=role.name,
            line={"color": role.colour, "width": 1.5},
            marker={"symbol": role.symbol, "size": 7, "color": role.colour},
            hovertext=[
                f"<b>{row['layer']}</b>, {role.name}<br>interference {row['share']:.3f} of Σσ"
                f"<br>mean cosine of two task vectors {row['mean_cosine']:.3f}".replace("-", "−")
                for row in table.to_dict(orient="records")
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    look.finish(figure, dark=dark, height=360)
    figure.update_xaxes(type="category", tickangle=-60, nticks=40, showgrid=False)
    return figure.update_yaxes(title="singular task interference / Σσ", rangemode="tozero")


def overlap_against_crosstalk(
    tables: Sides[pd.DataFrame], overlap: str, title: str, *, dark: bool = False
) -> go.Figure:
    """One point per pair of experts: how much they overlap in weight space, and how much they disturb each other."""
    figure = go.Figure()
    for role, table in look.roles(tables):
        figure.add_scatter(
            x=table[overlap],
            y=table["crosstalk"],
            mode="markers",
            name=role.name.removeprefix("merged "),
            marker={"symbol": role.symbol, "size": 8, "color": role.colour, "opacity": 0.8},
            hovertext=[
                f"<b>{row['expert']}</b> and <b>{row['other']}</b>, {role.name.removeprefix('merged ')}"
                f"<br>{title} {row[overlap]:.3f}<br>crosstalk {row['crosstalk']:.3f} nats".replace("-", "−")
                for row in table.to_dict(orient="records")
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    look.finish(figure, dark=dark, height=360)
    figure.update_xaxes(title=title)
    return figure.update_yaxes(title="crosstalk, mean of both ways (nats)", rangemode="tozero")


def short_name(layer: str) -> str:
    """Return a tensor's name as a tick label, for instance "3 attn.in_proj" in the third block."""
    parts = layer.removeprefix("visual.").removesuffix(".weight").removesuffix("_weight").split(".")
    place = next((index for index, part in enumerate(parts) if part.isdigit()), None)
    if place is None:
        return ".".join(parts)
    return f"{int(parts[place]) + 1} {'.'.join(parts[place + 1 :])}"


_OVERLAPS = {"cosine": "cosine of task vectors", "collision": "singular task interference of the pair"}


def _cosines(found: WeightSpace) -> dict[str, dict[str, float]]:
    gram = found.geometry.gram
    cells = dict(zip(gram.tasks, gram.cosine(), strict=True))
    return {one: dict(zip(gram.tasks, cells[one].tolist(), strict=True)) for one in gram.tasks}


def _as_json(found: WeightSpace) -> dict[str, object]:
    entries: dict[str, object] = {"cosine": _cosines(found), "layers": rows(found.geometry.layers)}
    for overlap in _OVERLAPS:
        rho, chance, pairs = found.correlation(overlap)
        entries[f"{overlap}_with_crosstalk"] = {"spearman": rho, "chance": chance, "pairs": pairs}
    return entries


ANALYSIS = Analysis(
    name="weight-space",
    title="Weight space",
    question="How far do experts overlap in their weights, and does that predict who disturbs whom?",
    formula=r"""Of a layer's task vectors, with their singular values and vectors $U_i\Sigma_i V_i^\top$ joined side
by side to $U,\Sigma,V$:

$$\lVert (U^\top U-I)\,\Sigma\,(V^\top V-I)\rVert_1$$

the singular task interference (Gargiulo et al. 2025), divided here by $\sum\sigma$.""",
    options=(
        Option(
            "overlap",
            "measure of the overlap of two experts",
            "cosine",
            label="overlap measured by",
            choices=tuple(_OVERLAPS),
            titles=tuple(_OVERLAPS.values()),
        ),
    ),
    measure=_measure,
    kept=Kept("weight-space", "2", _pack, _unpack),
    cost=_cost,
    button="Compare the weights",
    of_merge=False,
    limits=(FIRST_LOOK, 128),
    tables=_tables,
    charts=_charts,
    says=_says,
    columns={
        "weight-cosine": Columns(
            "an expert set and an ordered pair of experts",
            {"experts": "", "expert": "one of them", "other": "the other", "cosine": "of their task vectors"},
        ),
        "weight-interference": Columns(
            "an expert set and a weight matrix",
            {
                "experts": "",
                "layer": "its name",
                "block": "1 is the first, 0 outside the blocks",
                "interference": "‖(UᵀU−I) Σ (VᵀV−I)‖₁",
                "share": "interference / trace Σ",
                "mean_cosine": "over pairs of experts",
            },
        ),
        "overlap": Columns(
            "an expert set and a pair of experts",
            {
                "experts": "",
                "expert": "one of them",
                "other": "the other",
                "cosine": "of their task vectors",
                "collision": "singular task interference of the two / trace Σ",
                "crosstalk": "mean of both ways, nats",
            },
        ),
    },
    contract={"weight_space": _as_json},
    place=50,
)
