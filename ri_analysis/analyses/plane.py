"""The plane θ₀ + α₁τ₁ + α₂τ₂ of two experts: where do they stop disturbing each other?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ri_analysis.analyses.analysis import FIRST_LOOK, Analysis, Answer, Columns, Limit, Option, Options
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.measurement import Request
from ri_analysis.engine.models import combined_model
from ri_analysis.engine.results import kept_table
from ri_analysis.errors import InputError
from ri_analysis.figures import look, words
from ri_analysis.figures.chart import Chart
from ri_analysis.measures.disentanglement import disentanglement_table
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Progress
from ri_analysis.sides import Sides
from ri_analysis.suite import ORIGINAL

ALPHAS = tuple(float(alpha) for alpha in np.linspace(-1, 2, 13))
LIMIT = 64  # images a task


def pair_plane(
    evaluator: Evaluator,
    pair: tuple[str, str],
    experts: str = ORIGINAL,
    *,
    alphas: Sequence[float] = ALPHAS,
    limit: int | None = LIMIT,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return the weight disentanglement error over a square grid of two experts' coefficients.

    See `disentanglement_table`. Each grid point is kept as soon as it is known, so a cancelled run resumes where it
    stopped. Raises InputError when both experts are the same.
    """
    if pair[0] == pair[1]:
        raise InputError(f"the plane needs two different experts, found {pair[0]!r} twice")
    axes, grid = _models(evaluator, pair, experts, alphas, limit)
    found = evaluator.measurement.outcomes([*axes.values(), *grid.values()], progress)
    own, joint = dict(zip(axes, found, strict=False)), dict(zip(grid, found[len(axes) :], strict=True))
    return disentanglement_table(
        {
            point: {
                task: own[point[place], place][task].predicted != outcomes[task].predicted
                for place, task in enumerate(pair)
            }
            for point, outcomes in joint.items()
        }
    )


def _models(
    evaluator: Evaluator, pair: tuple[str, str], experts: str, alphas: Sequence[float], limit: int | None
) -> tuple[dict[tuple[float, int], Request], dict[tuple[float, float], Request]]:
    """Return what is measured: each expert alone by its coefficient and place in the pair, and both by theirs."""

    def request(amounts: dict[str, float], tasks: tuple[str, ...]) -> Request:
        return Request(combined_model(evaluator.suite, amounts, experts), evaluator.sections(tasks), limit)

    first, second = pair
    axes = {(alpha, place): request({task: alpha}, (task,)) for place, task in enumerate(pair) for alpha in alphas}
    return axes, {(one, two): request({first: one, second: two}, pair) for one in alphas for two in alphas}


def _requests(evaluator: Evaluator, recipe: MergeRecipe, options: Options, limit: Limit) -> list[Request]:
    axes, grid = _models(evaluator, _pair(options), recipe.experts, ALPHAS, limit)
    return [*axes.values(), *grid.values()]


def _measure(
    evaluator: Evaluator, recipe: MergeRecipe, options: Options, limit: Limit, progress: Progress | None
) -> pd.DataFrame:
    return pair_plane(evaluator, _pair(options), recipe.experts, limit=limit, progress=progress)


def _pair(options: Options) -> tuple[str, str]:
    return str(options["first"]), str(options["second"])


def _refusal(_: Evaluator, recipe: MergeRecipe) -> str:
    return "it needs at least two experts in the merge, found one" if len(recipe.tasks) < 2 else ""


def _charts(answer: Answer[pd.DataFrame], dark: bool) -> dict[str, Chart]:
    how = (
        "At each point the two experts are added with these coefficients; the error is the share of images, summed "
        "over both tasks, on which the sum predicts another class than the task's expert alone with its coefficient. "
        "The wider the dark area around the crosses (neither, each alone, both), the less they interfere."
    )
    n = f"Based on {words.count(int(answer.results.before['n'].max()), 'image')} a point; panels share one scale."
    return {"plane": Chart(plane_figure(answer.results, _pair(answer.options), dark=dark), how, n=n)}


def _says(answer: Answer[pd.DataFrame]) -> str:
    first, second = _pair(answer.options)
    errors = answer.results.map(lambda table: float(table["error"].mean())).stages
    said = ", ".join(f"**{error:.3f}** {stage} RI" for stage, error in errors.items())
    return f"Mean error over the plane of {first} and {second} (0 to 2): {said}."


def plane_figure(tables: Sides[pd.DataFrame], pair: tuple[str, str], *, dark: bool = False) -> go.Figure:
    """The weight disentanglement error over the plane of two experts, before and after RI on one scale."""
    titles = [f"{stage} RI" for stage in tables.stages]
    figure = make_subplots(cols=len(tables), shared_yaxes=True, horizontal_spacing=0.06, subplot_titles=titles)
    for column, table in enumerate(tables, 1):
        grid = table.pivot(index="alpha_2", columns="alpha_1", values="error")
        figure.add_heatmap(
            z=grid.to_numpy(np.float64),
            x=grid.columns,
            y=grid.index,
            coloraxis="coloraxis",
            hovertemplate="α₁ = %{x}, α₂ = %{y}<br>error %{z:.2f} of 2<extra></extra>",
            row=1,
            col=column,
        )
        for x, y in ((0, 0), (1, 0), (0, 1), (1, 1)):
            figure.add_scatter(
                x=[x],
                y=[y],
                mode="markers",
                showlegend=False,
                hoverinfo="skip",
                marker={"symbol": "cross-thin", "size": 9, "line": {"width": 2, "color": "#FFFFFF"}},
                row=1,
                col=column,
            )
    look.finish(figure, dark=dark, height=420)
    bar = {"title": {"text": "error", "font": {"size": 13}}, "thickness": 12, "outlinewidth": 0}
    top = max(float(table["error"].max()) for table in tables) or 1.0
    figure.update_layout(
        margin_t=40, coloraxis={"colorscale": look.SEQUENTIAL, "cmin": 0, "cmax": top, "colorbar": bar}
    )
    figure.update_xaxes(
        title=f"α₁, coefficient of {pair[0]}", showgrid=False, ticks="", scaleanchor="y", constrain="domain"
    )
    figure.update_yaxes(showgrid=False, ticks="", constrain="domain")
    figure.update_yaxes(title=f"α₂, coefficient of {pair[1]}", col=1)
    return figure.update_annotations(font_size=13)


ANALYSIS = Analysis(
    name="plane",
    title="The plane of two experts",
    question="Up to which coefficients do two experts leave each other's predictions unchanged?",
    formula=r"""$$\sum_{t=1,2}\mathbb{E}_{x\sim D_t}\,\mathbf{1}\big\{\arg\max h_t f(x;\theta_0+\alpha_t\tau_t)\neq
\arg\max h_t f(x;\theta_0+\alpha_1\tau_1+\alpha_2\tau_2)\big\}$$

the weight disentanglement error (Ortiz-Jimenez et al. 2023), from 0 to 2.""",
    options=(
        Option("first", "the first expert", "", task=0, label="first expert", measured=True),
        Option("second", "the second expert", "", task=1, label="second expert", other_than="first", measured=True),
    ),
    measure=_measure,
    requests=_requests,
    kept=kept_table("plane"),
    refusal=_refusal,
    cost=lambda _, __: (
        f"{len(ALPHAS) ** 2} models of each expert set, measured on {words.count(LIMIT, 'image')} a task."
    ),
    button="Compute the plane",
    of_merge=False,
    limits=(FIRST_LOOK, LIMIT),
    capped=True,
    tables=lambda answer: {"plane": answer.stacked(lambda table: table)},
    charts=_charts,
    says=_says,
    columns={
        "plane": Columns(
            "an expert set and a point of the plane",
            {
                "experts": "",
                "alpha_1": "the first expert's coefficient",
                "alpha_2": "the second expert's coefficient",
                "error": "weight disentanglement error, 0 to 2",
                "<task>": "the task's share of images on which the models disagree, for each of the two",
                "n": "",
            },
        )
    },
    place=60,
)
