"""How carefully must hyperparameters be chosen, before and after RI? Curves and surfaces of accuracy."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.grids import HIGHEST, LOWEST, OUTWARD, rounded
from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.errors import InputError
from ri_analysis.figures import surfaces, words
from ri_analysis.figures.chart import Chart
from ri_analysis.hyperparameters import Hyperparameter, Value, listed
from ri_analysis.intervals import Interval, normal_mean
from ri_analysis.merging import METHODS, MergeRecipe, find_method
from ri_analysis.sides import Sides
from ri_analysis.studies.acquisition import estimate, next_places
from ri_analysis.studies.adapted import IMAGES, RI_SEEDS, expert_sets
from ri_analysis.studies.conducting.point import Point
from ri_analysis.studies.conducting.tables import KeptTable
from ri_analysis.studies.conducting.work import Work
from ri_analysis.studies.study import Part, Rounds, Setting, Study, before_and_after, method_names, methods
from ri_analysis.studies.surface import (
    MARGIN,
    Axis,
    Plateau,
    axis_names,
    coarse,
    find_axis,
    plateau,
    plateau_interval,
    resampled_accuracy,
)
from ri_analysis.studies.verdicts import NOTHING, below, beside_the_paper, in_points, mean_over
from ri_analysis.suite import Suite

STEP = 4  # of the values along an axis, every so many are measured for a first look
OWN_LEVELS, OWN_IMAGES = 15, 64  # values along an axis, and images a task, of a recipe's own curve or surface
FINE = 2  # where it matters, so many times the images are looked at
_HALVINGS = 2  # of the interval in which a curve leaves its plateau

Position = tuple[float, float | None]  # x and y; y is None on a curve


@dataclass(frozen=True)
class Field:
    """One method's curve (`y` is None) or surface of one expert set: its axes, and the merge they vary.

    `run` counts expert sets that differ by the seed of RI; 0 is the suite's own.
    """

    base: MergeRecipe
    stage: str
    x: Axis
    y: Axis | None
    images: int
    run: int = 0

    def point(self, position: Position, images: int) -> Point:
        """Return what is measured at a position."""
        recipe = self.x.put(self.base, position[0])
        return Point(recipe if self.y is None or position[1] is None else self.y.put(recipe, position[1]), limit=images)

    @property
    def default(self) -> Position:
        """The position of the declared defaults."""
        return self.x.default, None if self.y is None else self.y.default

    @property
    def fixed(self) -> MergeRecipe:
        """The merge with its axes at their defaults: what stays the same all over the field."""
        recipe = self.x.put(self.base, self.x.default)
        return recipe if self.y is None else self.y.put(recipe, self.y.default)

    def grid(self) -> Iterator[list[Position]]:
        """Yield the grid's positions in two rounds, coarse and the rest; x varies first, so that directions last."""
        rows: list[float | None] = [None] if self.y is None else list(self.y.values)
        first_x = [self.x.values[position] for position in coarse(len(self.x.values), STEP)]
        first_y = [rows[position] for position in coarse(len(rows), STEP)]
        yield [(x, y) for y in first_y for x in first_x]
        seen = set(first_x), set(first_y)
        yield [(x, y) for y in rows for x in self.x.values if x not in seen[0] or y not in seen[1]]


@dataclass
class Measured:
    """What has been measured of a field: its grid, and again on more images where it matters."""

    grid: dict[Position, Outcomes]
    fine: dict[Position, Outcomes]

    @property
    def best(self) -> Position:
        """The grid's best position; of equal ones that with the smallest values."""
        return _best_of(self.grid)[0]


def fields(evaluator: Evaluator, settings: Mapping[str, Value], sets: Mapping[str, Sequence[str]]) -> list[Field]:
    """Return the fields that the settings ask for: each method with every expert set of the stages before and after RI.

    Raises InputError for bad settings.
    """
    tasks, levels, images = evaluator.suite.tasks, int(settings["levels"]), int(settings["images"])
    found = []
    for name in method_names(settings):
        x = find_axis(find_method(name), str(settings["x"]), tasks, levels)
        y = find_axis(find_method(name), str(settings["y"]), tasks, levels) if settings["y"] else None
        if y is not None and y.name == x.name:
            raise InputError(f"sensitivity: expected two axes, found {x.name!r} twice")
        base = evaluator.recipe(name, tasks=tasks, seed=int(settings["seed"]))
        for stage, experts in sets.items():
            found += [Field(base.with_experts(one), stage, x, y, images, run) for run, one in enumerate(experts)]
    return found


def axes_of(recipe: MergeRecipe) -> list[str]:
    """Return what can be varied of a recipe: the first two are looked at first."""
    return axis_names(METHODS[recipe.method], recipe.tasks)


def fields_of(recipes: Sides[MergeRecipe], x: str, y: str | None) -> list[Field]:
    """Return the fields of a recipe before and after RI along axes by name, as large as a page shows them."""
    method, tasks = METHODS[recipes.before.method], recipes.before.tasks
    first, second = (None if name is None else find_axis(method, name, tasks, OWN_LEVELS) for name in (x, y))
    assert first is not None  # `x` is a name
    return [Field(recipe, stage, first, second, OWN_IMAGES) for stage, recipe in recipes.stages.items()]


def settings_of(evaluator: Evaluator, wanted: Sequence[Field], levels: int) -> dict[str, Value] | None:
    """Return the study's settings that measure these fields of one method; None where it varies another merge."""
    first = wanted[0]
    asked: dict[str, Value] = {
        "methods": first.base.method,
        "x": first.x.name,
        "y": "" if first.y is None else first.y.name,
        "levels": levels,
        "images": first.images,
    }
    settings = {item.name: item.default for item in STUDY.settings} | asked
    found = fields(evaluator, settings, before_and_after(evaluator))
    same = [field.fixed for field in found] == [field.fixed for field in wanted]
    return settings if same else None


def kept_table(evaluator: Evaluator, wanted: Sequence[Field]) -> KeptTable:
    """Return where the table of `study_field` is kept."""
    about = [[asdict(field), evaluator.digest(field.base)] for field in wanted]
    return KeptTable(evaluator, "sensitivity of a recipe", STUDY.version, about)


def study_field(wanted: Sequence[Field]) -> Rounds:
    """Measure fields, coarse first, then whole, then again or further where it matters."""
    measured = [Measured({}, {}) for _ in wanted]
    for batches in zip(*(list(field.grid()) for field in wanted), strict=True):
        yield from _measure(wanted, measured, list(batches))
    if wanted[0].y is None:
        for _ in range(OUTWARD):
            positions = [_outward(field, one) for field, one in zip(wanted, measured, strict=True)]
            if not any(positions):
                break
            yield from _measure(wanted, measured, positions)
        for _ in range(_HALVINGS):
            yield from _measure(
                wanted, measured, [_edges(field, one) for field, one in zip(wanted, measured, strict=True)]
            )
    yield from _measure_finer(wanted, measured)
    return table(wanted, measured)


def saving_field(wanted: Sequence[Field]) -> Rounds:
    """Measure surfaces of one method where a Gaussian process is unsure of them, and estimate the rest.

    It ends with the table of `study_field`, in which places that were not measured have the `kind` "estimate", no
    images and no interval. Each row through a best point is measured whole, so that its plateau is.
    """
    measured = [Measured({}, {}) for _ in wanted]
    grid, axes = [place for part in wanted[0].grid() for place in part], _surface_axes(wanted[0])
    yield from _measure(wanted, measured, [next(field.grid()) for field in wanted])
    while places := next_places(axes, [_accuracies(one) for one in measured], grid):
        yield from _measure(wanted, measured, [sorted(places, key=lambda place: place[::-1])] * len(wanted))
    rows = {one.best[1] for one in measured}
    places = [place for place in grid if place[1] in rows and place not in measured[0].grid]
    yield from _measure(wanted, measured, [places] * len(wanted))
    yield from _measure_finer(wanted, measured)
    guesses = [_estimates(field, one, axes, grid) for field, one in zip(wanted, measured, strict=True)]
    return pd.concat([table(wanted, measured), *guesses], ignore_index=True)


def kept_saving_table(evaluator: Evaluator, wanted: Sequence[Field]) -> KeptTable:
    """Return where the table of `saving_field` is kept."""
    about = [[asdict(field), evaluator.digest(field.base)] for field in wanted]
    return KeptTable(evaluator, "sensitivity of a recipe where it is unsure", "1", about)


def saving(found: pd.DataFrame) -> str:
    """Say how much of a surface of `saving_field` was measured; empty where all of it was."""
    estimated, stages = int((found["kind"] == "estimate").sum()), found["stage"].nunique()
    if not estimated:
        return ""
    total = estimated + int((found["kind"] == "grid").sum())
    return (
        f"Measured {(total - estimated) // stages} of {total // stages} points of each surface, saving "
        f"{words.percent(estimated / total, 0)} of the grid's merges: only those where it was unclear how accurate "
        "they are, or whether they lie within one point of the best. A Gaussian process estimates the others."
    )


def _surface_axes(field: Field) -> tuple[Axis, Axis]:
    assert field.y is not None  # of a surface
    return field.x, field.y


def _accuracies(one: Measured) -> dict[Position, float]:
    return {place: outcome.accuracy for place, outcome in one.grid.items()}


def _estimates(field: Field, one: Measured, axes: tuple[Axis, Axis], grid: Sequence[Position]) -> pd.DataFrame:
    rest = [place for place in grid if place not in one.grid and place not in one.fine]
    if not rest:
        return pd.DataFrame()
    accuracies, _ = estimate(axes, _accuracies(one), rest)
    known = _row(field, "estimate", field.default, one.fine[field.default])
    unknown = {name: np.nan for name in known if name.startswith(("accuracy_", "interference"))}
    return pd.DataFrame(
        [
            known | unknown | {"x": place[0], "y": place[1], "accuracy": accuracy, "n": 0}
            for place, accuracy in zip(rest, accuracies.clip(0, 1).tolist(), strict=True)
        ]
    )


def coarse_field(wanted: Sequence[Field]) -> Rounds:
    """Measure the coarse grid alone, with which `study_field` begins."""
    measured = [Measured({}, {}) for _ in wanted]
    yield from _measure(wanted, measured, [next(field.grid()) for field in wanted])
    return table(wanted, measured)


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    sets = yield from expert_sets(evaluator, settings)
    return (yield from study_field(fields(evaluator, settings, sets)))


def _measure(wanted: Sequence[Field], measured: Sequence[Measured], positions: Sequence[list[Position]]) -> Part:
    asked = [
        (one, field, position)
        for field, one, part in zip(wanted, measured, positions, strict=True)
        for position in part
    ]
    outcomes = yield [field.point(position, field.images) for _, field, position in asked]
    for (one, _, position), outcome in zip(asked, outcomes, strict=True):
        one.grid[position] = outcome


def _measure_finer(wanted: Sequence[Field], measured: Sequence[Measured]) -> Part:
    """Measure the defaults and, of a surface, both slices through its best point on more images.

    Both sides of a method are measured at the same positions, so that their difference is based on the same images.
    """
    positions = [
        dict.fromkeys([field.default, *([] if field.y is None else _slices(one)), one.best])
        for field, one in zip(wanted, measured, strict=True)
    ]
    for field, own in zip(wanted, positions, strict=True):
        if field.y is not None and field.run == 0:
            for other, others in zip(wanted, list(map(tuple, positions)), strict=True):
                if other.base.method == field.base.method and other.run == 0:
                    own.update(dict.fromkeys(others))
    asked = [
        (one, field, position) for field, one, own in zip(wanted, measured, positions, strict=True) for position in own
    ]
    outcomes = yield [field.point(position, _fine(field)) for _, field, position in asked]
    for (one, _, position), outcome in zip(asked, outcomes, strict=True):
        one.fine[position] = outcome


def _fine(field: Field) -> int:
    """Return the images a task where it matters: a curve's points already tell the plateau apart."""
    return field.images if field.y is None else FINE * field.images


def _slices(one: Measured) -> list[Position]:
    best = one.best
    return sorted(position for position in one.grid if position[0] == best[0] or position[1] == best[1])


def _curve(one: Measured) -> tuple[list[float], list[float]]:
    values = sorted(position[0] for position in one.grid)
    return values, [one.grid[value, None].accuracy for value in values]


def _outward(field: Field, one: Measured) -> list[Position]:
    """Return one more value beyond each end that a curve's plateau reaches."""
    values, scores = _curve(one)
    found = plateau(values, scores, log=field.x.log)
    if field.x.name != "scale" or not found.open:
        return []
    ratio, added = field.x.values[1] / field.x.values[0], []
    if found.low <= values[0] * 1.0001:
        added.append(rounded(values[0] / ratio))
    if found.high >= values[-1] / 1.0001:
        added.append(rounded(values[-1] * ratio))
    return [(value, None) for value in added if LOWEST <= value <= HIGHEST]


def _edges(field: Field, one: Measured) -> list[Position]:
    """Return the middles of the two intervals in which a curve leaves its plateau."""
    values, scores = _curve(one)
    found, added = plateau(values, scores, log=field.x.log), []
    for edge in (found.low, found.high):
        for left, right in pairwise(values):
            if left < edge < right:
                added.append(rounded((left * right) ** 0.5 if field.x.log else (left + right) / 2))
    return [(value, None) for value in dict.fromkeys(added) if value not in values]


# --- the table ----------------------------------------------------------------------------------------------


def table(wanted: Sequence[Field], measured: Sequence[Measured]) -> pd.DataFrame:
    """Return one row per field and position, and one `summary` row per field; also of a field half measured.

    `kind` is "grid" (the probe's images) or "fine" (more of them), then "default" and "best"; a best row also holds
    `gap` (best − default), `plateau` (its width), `plateau_from`, `plateau_to`, `plateau_open`, with intervals, and
    the same as `reach` of the stretch that is within a point of the method's best before RI. `run` counts the seeds of
    RI from 0, the suite's own set.
    """
    rows: list[dict[str, object]] = []
    before = {field.base.method: one for field, one in zip(wanted, measured, strict=True) if field.stage == "before"}
    for field, one in zip(wanted, measured, strict=True):
        rows += [
            _row(field, "grid", position, outcome) for position, outcome in sorted(one.grid.items(), key=_by_position)
        ]
        rows += [
            _row(field, "fine", position, outcome) for position, outcome in sorted(one.fine.items(), key=_by_position)
        ]
        if one.fine:
            rows += _summaries(field, one, before[field.base.method])
    return pd.DataFrame(rows)


def one_a_place(found: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which every place has one row of the grid: what was measured on more images, where it was."""
    measured = found[found["kind"].isin(["grid", "fine"])]
    place = ["method", "stage", "run", "x", "y"]
    best = measured.sort_values("n", kind="stable").drop_duplicates(place, keep="last").assign(kind="grid")
    rows = [best.sort_index(), found[~found.index.isin(measured.index)]]
    return pd.concat(rows, ignore_index=True)


def on_images(found: pd.DataFrame) -> str:
    """Say on how many images the places of `one_a_place` are based."""
    counts = sorted(found.loc[found["kind"] == "grid", "n"].unique())
    said = f"Each point is based on {words.count(int(counts[0]), 'test image')}"
    more = f"; those in the row or column of a best point, on {int(counts[-1]):,}" if len(counts) > 1 else ""
    return f"{said}{more}."


def partial_table(wanted: Sequence[Field], results: Mapping[Work, Outcomes]) -> pd.DataFrame:
    """Return the table of what is there of the fields' grids; empty where nothing is."""
    measured = []
    for field in wanted:
        points = {position: field.point(position, field.images) for part in field.grid() for position in part}
        measured.append(
            Measured({position: results[point] for position, point in points.items() if point in results}, {})
        )
    return table(wanted, measured)


def _by_position(item: tuple[Position, Outcomes]) -> tuple[float, float]:
    return item[0][0], item[0][1] or 0.0


def _row(field: Field, kind: str, position: Position, outcome: Outcomes) -> dict[str, object]:
    accuracy, interference = (normal_mean(list(part.values())) for part in (outcome.correct, outcome.divergence))
    return {
        "method": field.base.method,
        "stage": field.stage,
        "experts": field.base.experts,
        "run": field.run,
        "kind": kind,
        "x": position[0],
        "y": position[1],
        "x_name": field.x.name,
        "y_name": None if field.y is None else field.y.name,
        "accuracy": outcome.accuracy,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "interference": outcome.interference,
        "interference_low": interference.low,
        "interference_high": interference.high,
        "n": outcome.n,
    }


def _candidates(field: Field, one: Measured) -> dict[Position, Outcomes]:
    """Return what the summary may choose from, all of it measured on equally many images."""
    return one.grid if field.y is None else {position: one.fine[position] for position in _slices(one)}


def _summaries(field: Field, one: Measured, before: Measured) -> list[dict[str, object]]:
    candidates = _candidates(field, one)
    best, _ = _best_of(candidates)
    outcomes = [one.fine[field.default], candidates[best]]
    spread = np.diff(resampled_accuracy(outcomes, 0), axis=1)
    gap = Interval(*(float(value) for value in np.quantile(spread, [0.025, 0.975])))
    along = {position[0]: outcome for position, outcome in candidates.items() if position[1] == one.best[1]}
    values = sorted(along)
    curve, scores = [along[value] for value in values], [along[value].accuracy for value in values]
    rival = list(_candidates(field, before).values()) if before.fine else curve
    level = max(outcome.accuracy for outcome in rival) - MARGIN
    change = _changes(field, outcomes, before) if field.stage == "after" and before.fine else {}
    numbers: dict[str, object] = {
        "gap": candidates[best].accuracy - one.fine[field.default].accuracy,
        "gap_low": gap.low,
        "gap_high": gap.high,
        **_plateau_columns(
            "plateau", plateau(values, scores, log=field.x.log), plateau_interval(values, curve, log=field.x.log)
        ),
        **_plateau_columns(
            "reach",
            plateau(values, scores, log=field.x.log, level=level),
            plateau_interval(values, curve, log=field.x.log, than=rival),
        ),
    }
    first = _row(field, "default", field.default, one.fine[field.default]) | change.get("default", {})
    return [first, _row(field, "best", best, candidates[best]) | numbers | change.get("best", {})]


def _changes(field: Field, after: Sequence[Outcomes], before: Measured) -> dict[str, dict[str, float]]:
    """Return by RI's change `gain` of the default and the best position, each side's own, and `gap_change`, paired."""
    positions = [before.fine[field.default], _best_of(_candidates(field, before))[1]]
    drawn = resampled_accuracy([*positions, *after], 0)
    means = np.array([outcome.accuracy for outcome in (*positions, *after)])
    weights = {"default": (-1, 0, 1, 0), "best": (0, -1, 0, 1), "gap": (1, -1, -1, 1)}
    found = {}
    for name, signs in weights.items():
        low, high = np.quantile(drawn @ np.array(signs), [0.025, 0.975])
        found[name] = (float(means @ np.array(signs)), float(low), float(high))

    def columns(name: str, kind: str) -> dict[str, float]:
        return dict(zip((name, f"{name}_low", f"{name}_high"), found[kind], strict=True))

    return {"default": columns("gain", "default"), "best": columns("gain", "best") | columns("gap_change", "gap")}


def _best_of(candidates: Mapping[Position, Outcomes]) -> tuple[Position, Outcomes]:
    """Return the most accurate; of equal ones that with the smallest values."""
    best = min(candidates, key=lambda position: (-candidates[position].accuracy, position[0], position[1] or 0.0))
    return best, candidates[best]


def _plateau_columns(name: str, found: Plateau, width: Interval) -> dict[str, object]:
    return {
        name: found.width,
        f"{name}_low": width.low,
        f"{name}_high": width.high,
        f"{name}_from": found.low,
        f"{name}_to": found.high,
        f"{name}_open": found.open,
    }


# --- what is shown ------------------------------------------------------------------------------------------


def _charts(found: pd.DataFrame, dark: bool) -> dict[str, Chart]:
    charts = {}
    thin = " Thin lines: other seeds of RI." if found["run"].any() else ""
    for name, part in found.groupby("method", sort=False):
        title, n = METHODS[str(name)].title, words.count(int(part["n"].iloc[0]), "test image")
        if part["y_name"].isna().all():
            text = (
                f"{title}: accuracy along the axis. Thick bars: the plateau, within 1 point of the best; the wider it "
                f"is, the less the value has to be tuned. Each point is based on {n}; bands: 95% intervals.{thin}"
            )
            charts[f"curve-{name}"] = Chart(surfaces.curves(part, dark=dark), text, title)
        else:
            own = one_a_place(_own(part))
            text = (
                f"{title}: accuracy over both axes, before and after RI on one colour scale, and the change. Shaded: "
                f"within one point of the best; star: best; ring: default. {on_images(own)}"
            )
            charts[f"surface-{name}"] = Chart(surfaces.pair(own, dark=dark), text, title)
            text = (
                f"{title}: the best accuracy at each value of one axis, over all values of the other; "
                "bands: 95% intervals."
            )
            charts[f"marginals-{name}"] = Chart(surfaces.marginals(own, dark=dark), text)
    return charts


def _summary(found: pd.DataFrame) -> pd.DataFrame:
    """Return one row per method and stage: default, best, gap and plateau, with the spread over seeds of RI."""
    rows = []
    for (name, stage), part in found.groupby(["method", "stage"], sort=False):
        own = _own(part).to_dict(orient="records")
        by_kind = {row["kind"]: row for row in own if row["kind"] in ("default", "best")}
        best, bests = by_kind["best"], part[part["kind"] == "best"]
        rows.append(
            {
                "method": METHODS[str(name)].title,
                "RI": stage,
                "default": words.percent(by_kind["default"]["accuracy"]),
                "best": f"{words.percent(best['accuracy'])} (at {at(best)}){_seeds(bests, 'accuracy')}",
                "gap": f"{words.points(best['gap'])} ({words.points_range(best['gap_low'], best['gap_high'])})",
                "plateau": plateau_text(best) + _seeds(bests, "plateau"),
                "as good as the best before": plateau_text(best, "reach") + _seeds(bests, "reach"),
            }
        )
    return pd.DataFrame(rows)


def _own(found: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the suite's own expert sets, without other seeds of RI."""
    return found[found["run"] == 0]


def _seeds(bests: pd.DataFrame, name: str) -> str:
    """Return the lowest and the highest of a column over the seeds of RI, nothing where there is one."""
    if len(bests) < 2:
        return ""
    low, high = bests[name].min(), bests[name].max()
    return f", seeds {words.percent_range(low, high) if name == 'accuracy' else f'{low:.2f}–{high:.2f}'}"


def at(row: Mapping[Hashable, Any]) -> str:
    """Return a row's position in words."""
    axes = ["x", "y"] if isinstance(row["y_name"], str) else ["x"]
    label = METHODS[str(row["method"])].label
    return ", ".join(f"{label(row[f'{axis}_name'])} = {words.signed(row[axis], '.3g')}" for axis in axes)


def plateau_text(row: Mapping[Hashable, Any], name: str = "plateau") -> str:
    """Return a best row's plateau, or its reach, in words."""
    more = "at least " if row[f"{name}_open"] else ""
    unit = "×" if row["x_name"] == "scale" else ""
    interval = f"{row[f'{name}_low']:.2f}–{row[f'{name}_high']:.2f}"
    low, high = (words.signed(row[f"{name}_{end}"], ".3g") for end in ("from", "to"))
    return f"{more}{unit}{row[name]:.2f} ({interval}): {low} to {high}"


def _verdict(found: pd.DataFrame) -> str:
    best = _own(found[found["kind"] == "best"]).pivot(
        index="method", columns="stage", values=["accuracy", "plateau", "gap", "reach"]
    )
    if ("plateau", "after") not in best:
        return NOTHING
    wider, further = (best[name, "after"] > best[name, "before"] for name in ("plateau", "reach"))
    gaps = {stage: words.points(best["gap", stage].mean()) for stage in ("before", "after")}
    after = _own(found[(found["kind"] == "best") & (found["stage"] == "after")])
    kept = [METHODS[str(name)].title for name, yes in wider.items() if not yes]
    but = f" (not: {', '.join(kept)})" if kept else ""
    return (
        f"The best accuracy changes by {in_points(mean_over(after, 'gain'))} with RI (mean over methods). The range "
        f"within 1 point of the best before RI is wider after RI for {int(further.sum())} of {len(further)} methods; "
        f"the plateau, within 1 point of the respective best, for {int(wider.sum())} of {len(wider)}{but}. The mean "
        f"gap between default and best is {gaps['before']} before RI and {gaps['after']} after; it changes by "
        f"{in_points(mean_over(after, 'gap_change'))}. "
        + beside_the_paper({"the gap is smaller after RI": below(mean_over(after, "gap_change"))})
    )


def _axes(suite: Suite, chosen: Mapping[str, object], other_than: str = "") -> dict[str, str]:
    """Return what every chosen method can vary, with titles."""
    methods_chosen = [METHODS[name] for name in listed(chosen["methods"]) if name in METHODS]
    names = [axis_names(method, suite.tasks) for method in methods_chosen]
    shared = [name for name in (names[0] if names else ()) if all(name in other for other in names)]
    return {name: methods_chosen[0].label(name) for name in shared if name != other_than}


STUDY = Study(
    "sensitivity",
    "Sensitivity to hyperparameters",
    "How carefully must hyperparameters be chosen, before and after RI?",
    "The gap between default and tuned hyperparameters is 1.8 points before RI and 0.4 after (mean of 6 methods).",
    _rounds,
    _charts,
    _summary,
    _verdict,
    (
        methods("task-arithmetic", "ties", "tsv-m", "iso-c", "dare"),
        Setting(
            "x",
            "first axis: a hyperparameter that all chosen methods have, or the coefficient of a task's expert",
            "scale",
            label="first axis",
            among=_axes,
        ),
        Setting(
            "y",
            "second axis of a surface; without one the study draws curves",
            "",
            label="second axis",
            among=lambda suite, chosen: {"": "none (curves)"} | _axes(suite, chosen, other_than=str(chosen["x"])),
        ),
        Hyperparameter(
            "levels", "values tried along each axis", 15, 3, 200, label="values along an axis", unit="values"
        ),
        IMAGES,
        Hyperparameter("seed", "seed of methods that draw at random", 0, 0, 2**31, label="seed of the methods"),
        RI_SEEDS,
    ),
    version="1",
)
