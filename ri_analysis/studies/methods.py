"""Does every method gain from RI? All methods at their default and at their best λ, before and after RI."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.grids import at_scale, best_of, find_scale, mergeable
from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.engine.sections import VALIDATION
from ri_analysis.figures import look, spread, words
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.look import AFTER, BEFORE, EXPERT, ZERO_SHOT, Role
from ri_analysis.hyperparameters import Hyperparameter, Value
from ri_analysis.merging import METHODS, MergeRecipe
from ri_analysis.merging.method import TASK_DATA
from ri_analysis.studies.adapted import RI_SEEDS, expert_sets
from ri_analysis.studies.conducting.point import Point
from ri_analysis.studies.searching import search
from ri_analysis.studies.study import Rounds, Study, changed, measured
from ri_analysis.studies.verdicts import NOTHING, above, beside_the_paper, every, in_points, mean_over, within

SETTINGS = {"default": "at the default λ", "best": "at the best λ (chosen on validation images)"}
ROLES = {"before": BEFORE, "after": AFTER}
MARGIN = 0.01  # a point


class _Case(NamedTuple):
    """A method merging one of the expert sets."""

    method: str
    stage: str


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    probe, levels, seeds = (int(settings[name]) for name in ("images", "levels", "seeds"))
    sets = yield from expert_sets(evaluator, settings)
    default = {
        _Case(method.name, stage): evaluator.recipe(method.name, experts=names[0], tasks=evaluator.suite.tasks)
        for method in mergeable(len(evaluator.suite.tasks))
        for stage, names in sets.items()
    }
    tried = yield from search(default, levels, lambda _, recipe: Point(recipe, VALIDATION, probe), refined=True)
    recipes = {(case, "default"): recipe for case, recipe in default.items()}
    recipes |= {(case, "best"): at_scale(default[case], best_of(values)) for case, values in tried.items() if values}
    tests = {
        (key, seed): point
        for key, recipe in recipes.items()
        for seed, point in enumerate(_runs(recipe, sets[key[0].stage], seeds))
    }
    references = _references(evaluator)
    found = yield [*tests.values(), *references.values()]
    outcomes = dict(zip(tests, found, strict=False))
    alone = dict(zip(references, found[len(tests) :], strict=True))
    rows = [_row(key, recipe, outcomes) for key, recipe in recipes.items()]
    return pd.DataFrame([*rows, *_reference_rows(evaluator, alone)])


def _runs(recipe: MergeRecipe, sets: Sequence[str], seeds: int) -> list[Point]:
    """Return a merge with each of the expert sets, and as often as a method that draws at random is to be repeated."""
    seeded = METHODS[recipe.method].seeded
    return [
        Point(replace(recipe, experts=sets[seed % len(sets)], seed=seed if seeded else recipe.seed))
        for seed in range(max(len(sets), seeds if seeded else 1))
    ]


def _references(evaluator: Evaluator) -> dict[str, Point]:
    """Return the pretrained model, λ = 0, and each original expert on its own task, as points."""
    zero_shot = {"zero-shot": Point(evaluator.recipe("task-arithmetic", {"scale": 0.0}))}
    return zero_shot | {
        task: Point(evaluator.recipe("task-arithmetic", {"scale": 1.0}, tasks=[task])) for task in evaluator.suite.tasks
    }


def _row(
    key: tuple[_Case, str], recipe: MergeRecipe, outcomes: Mapping[tuple[tuple[_Case, str], int], Outcomes]
) -> dict[str, object]:
    (case, setting), method = key, METHODS[recipe.method]
    found = _by_seed(key, outcomes)
    row: dict[str, object] = {
        "method": method.name,
        "title": method.title,
        "needs_task_data": method.needs == TASK_DATA,
        "stage": case.stage,
        "experts": recipe.experts,
        "setting": setting,
        "scale": recipe.scale if find_scale(method) else float("nan"),
        **measured(*found),
    }
    before = _by_seed((case._replace(stage="before"), setting), outcomes)
    return row | changed(before, found) if case.stage == "after" and before else row


def _by_seed(key: tuple[_Case, str], outcomes: Mapping[tuple[tuple[_Case, str], int], Outcomes]) -> list[Outcomes]:
    return [outcome for (other, _), outcome in outcomes.items() if other == key]


def _reference_rows(evaluator: Evaluator, alone: Mapping[str, Outcomes]) -> list[dict[str, object]]:
    experts = Outcomes({task: alone[task][task] for task in evaluator.suite.tasks})
    return [
        {"method": name, "title": name, "stage": "reference", "setting": "reference", **measured(outcome)}
        for name, outcome in (("zero-shot", alone["zero-shot"]), ("experts", experts))
    ]


# --- what is shown ----------------------------------------------------------------------------------------


def _charts(table: pd.DataFrame, dark: bool) -> dict[str, Chart]:
    merged = table[table["stage"] != "reference"]
    images = f"Based on {words.count(int(merged['n'].iloc[0]), 'test image')}. {spread.caption(merged)}"
    charts = {
        "accuracy": Chart(
            _accuracy(table, dark),
            "One row per method. Further right is more accurate; a diamond to the right of its circle means that the "
            "method gained from RI. Dashed lines: zero-shot (grey), and the experts, each on its own task (green). "
            f"{images}",
        )
    }
    if "gain" in merged:
        charts["gain"] = Chart(
            _gain(merged.dropna(subset="gain"), dark),
            f"Change by RI, compared on the same images: right of zero, RI helps. {images}",
        )
    return charts


def _accuracy(table: pd.DataFrame, dark: bool) -> go.Figure:
    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=list(SETTINGS.values()))
    titles = list(dict.fromkeys(table.loc[table["stage"] != "reference", "title"]))
    for column, setting in enumerate(SETTINGS, 1):
        for stage, role in ROLES.items():
            part = table[(table["stage"] == stage) & (table["setting"] == setting)]
            place = {"legendgroup": stage, "row": 1, "col": column}
            spread.add_seeds(figure, part, "accuracy", role.colour, part["title"], vertical=False, **place)
            figure.add_scatter(
                x=part["accuracy"],
                y=part["title"],
                error_x=look.error_bar(part, "accuracy", "accuracy_low", "accuracy_high", role.colour),
                marker={"symbol": role.symbol, "size": 9, "color": role.colour},
                hovertext=[_hover(row, role) for row in _records(part)],
                hovertemplate="%{hovertext}<extra></extra>",
                mode="markers",
                name=role.name,
                showlegend=column == 1,
                **place,
            )
        for name, role in (("zero-shot", ZERO_SHOT), ("experts", EXPERT)):
            value = table.loc[table["method"] == name, "accuracy"].iloc[0]
            figure.add_vline(value, line={"color": role.colour, "dash": "dash", "width": 1.5}, row=1, col=column)
    look.finish(figure, dark=dark, height=130 + 30 * len(titles))
    figure.update_layout(legend={"y": 1.0 + 40 / (60 + 30 * len(titles))}, margin_t=80)
    figure.update_yaxes(categoryorder="array", categoryarray=titles[::-1])
    figure.update_annotations(font_size=13)
    return figure.update_xaxes(title="mean accuracy over tasks", tickformat=".0%")


def _records(table: pd.DataFrame) -> list[dict[Hashable, Any]]:
    return table.to_dict(orient="records")


def _hover(row: Mapping[Hashable, Any], role: Role) -> str:
    scale = "" if pd.isna(row["scale"]) else f", λ = {row['scale']:g}"
    return f"<b>{row['title']}</b>{scale}<br>{role.name}: {spread.hover(row, 'accuracy')}"


def _gain(table: pd.DataFrame, dark: bool) -> go.Figure:
    figure, titles = go.Figure(), list(dict.fromkeys(table["title"]))
    shade = look.shades(dark)
    for setting, colour, symbol in (("default", shade.muted, "circle-open"), ("best", shade.text, "diamond")):
        part = table[table["setting"] == setting]
        shown = spread.on_axis(part, "gain")
        spread.add_seeds(figure, shown, "gain", colour, part["title"], vertical=False, legendgroup=setting)
        figure.add_scatter(
            x=shown["gain"],
            y=shown["title"],
            error_x=look.error_bar(shown, "gain", "gain_low", "gain_high", colour),
            marker={"symbol": symbol, "size": 9, "color": colour},
            hovertext=[f"<b>{row['title']}</b><br>{spread.hover(row, 'gain')}" for row in _records(part)],
            hovertemplate="%{hovertext}<extra></extra>",
            mode="markers",
            name=SETTINGS[setting],
            legendgroup=setting,
        )
    figure.add_vline(0, line={"color": shade.muted, "width": 1.5})
    look.finish(figure, dark=dark, height=110 + 30 * len(titles))
    figure.update_yaxes(categoryorder="array", categoryarray=titles[::-1])
    return figure.update_xaxes(title="change in mean accuracy by RI (points)", **look.SIGNED)


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per method: accuracy before and after RI and the change, at the default and at the best λ."""
    merged, rows = table[table["stage"] != "reference"], []
    for _, part in merged.groupby("title", sort=False):
        cells: dict[str, object] = {"method": METHODS[str(part["method"].iloc[0])].called}
        for setting in SETTINGS:
            for stage in ROLES:
                found = part[(part["stage"] == stage) & (part["setting"] == setting)]
                cells[f"{setting}: {stage}"] = _cell(found)
                if stage == "after":
                    cells[f"{setting}: change"] = _change_cell(found)
        rows.append(cells)
    for row in _records(table[table["stage"] == "reference"]):
        rows.append({"method": row["title"], "default: before": words.percent(row["accuracy"])})
    return pd.DataFrame(rows).fillna("—")


def _cell(found: pd.DataFrame) -> str:
    if found.empty:
        return "—"
    row = _records(found)[0]
    scale = "" if pd.isna(row["scale"]) else f" (λ {row['scale']:.3g})"
    return f"{words.percent(row['accuracy'])}{scale}{spread.seeds(row, 'accuracy')}"


def _change_cell(found: pd.DataFrame) -> str:
    if found.empty or pd.isna(found.iloc[0].get("gain")):
        return "—"
    return spread.cell(_records(found)[0], "gain")


def _verdict(table: pd.DataFrame) -> str:
    if "gain" not in table:
        return NOTHING
    sentences = []
    for setting, where in SETTINGS.items():
        part = table[(table["setting"] == setting) & table["gain"].notna()]
        better, worse = part[part["gain_low"] > 0], part[part["gain_high"] < 0]
        lost = f"{len(worse)} lose ({', '.join(worse['title'])})" if len(worse) else "none loses"
        sentences.append(
            f"{where[0].upper() + where[1:]}, {len(better)} of {len(part)} methods gain from RI and {lost}, counting "
            f"changes whose 95% interval excludes 0; the mean change is {in_points(mean_over(part, 'gain'))}."
        )
    best = table[(table["setting"] == "best") & table["gain"].notna()]
    others = best[best["method"] != "averaging"]
    low = others[others["gain_low"] <= -MARGIN]
    sentences.append(
        "Except for averaging, every interval at the best λ is above −1 point."
        if low.empty
        else f"The interval at the best λ reaches −1 point or less for {', '.join(low['title'])}."
    )
    gains = [above(mean_over(row, "gain")) for _, row in others.groupby("method")]
    claims = {"every method except averaging gains at its best λ": every(gains)}
    averaging = table[(table["method"] == "averaging") & (table["setting"] == "default") & table["gain"].notna()]
    if len(averaging):
        change = mean_over(averaging, "gain")
        claims[f"averaging at 1/N changes by at most 1 point (here {in_points(change)})"] = within(change, MARGIN)
    return " ".join([*sentences, beside_the_paper(claims)])


STUDY = Study(
    "methods",
    "All methods, before and after RI",
    "Does every merging method gain from RI, at its default and at its best λ?",
    "ViT-B/32, 20 tasks, accuracy before → after RI: Task Arithmetic 56.1 → 64.7%, TIES 58.0 → 67.7%, TSV-M 76.5 → "
    "80.3%, Iso-C 75.1 → 77.5%. Every method gains except averaging (within ±1.0 points).",
    _rounds,
    _charts,
    _summary,
    _verdict,
    (
        Hyperparameter(
            "images",
            "validation images of each task on which λ is chosen",
            128,
            1,
            1_000_000,
            label="validation images per task",
            unit="images",
        ),
        Hyperparameter("levels", "values of λ tried first", 7, 2, 200, label="values of λ", unit="values"),
        Hyperparameter("seeds", "seeds for methods that draw at random", 3, 1, 100, unit="seeds"),
        RI_SEEDS,
    ),
    version="1",
    every_method=True,
)
