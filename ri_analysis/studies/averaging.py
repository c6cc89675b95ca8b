"""Why does plain averaging gain nothing from RI? Its curve over the factor λ of the mean."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.figures import spread
from ri_analysis.hyperparameters import Value
from ri_analysis.studies import sensitivity
from ri_analysis.studies.adapted import expert_sets
from ri_analysis.studies.study import Rounds, Study
from ri_analysis.studies.surface import MARGIN
from ri_analysis.studies.verdicts import NOTHING, beside_the_paper, in_points, mean_over, within

_AXES: dict[str, Value] = {"methods": "averaging", "x": "scale", "y": "", "seed": 0}


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    sets = yield from expert_sets(evaluator, settings)
    return (yield from sensitivity.study_field(sensitivity.fields(evaluator, {**settings, **_AXES}, sets)))


def _verdict(table: pd.DataFrame) -> str:
    own = table[(table["run"] == 0) & (table["kind"] != "grid")]
    rows = {(row["stage"], row["kind"]): row for row in own.to_dict(orient="records")}
    if ("after", "best") not in rows:
        return NOTHING
    after = own[own["stage"] == "after"]
    change = {kind: mean_over(after[after["kind"] == kind], "gain") for kind in ("default", "best")}
    best = {stage: rows[stage, "best"] for stage in ("before", "after")}
    return (
        f"At λ = 1, which is 1/N for each expert, RI changes accuracy by {in_points(change['default'])}; at the "
        f"respective best λ, by {in_points(change['best'])}. The best λ is {best['before']['x']:.3g} before RI "
        f"(plateau {_stretch(best['before'])}) and {best['after']['x']:.3g} after (plateau {_stretch(best['after'])}). "
        + beside_the_paper(
            {
                "averaging at 1/N changes by at most 1 point": within(change["default"], MARGIN),
                "the best λ is larger after RI": _later(best["before"], best["after"]),
            }
        )
    )


def _stretch(best: spread.Row) -> str:
    return f"{best['plateau_from']:.3g} to {best['plateau_to']:.3g}"


def _later(before: spread.Row, after: spread.Row) -> bool | None:
    """Whether a peak came later; a peak within the other's plateau does not tell."""
    if after["x"] > before["plateau_to"] and before["x"] < after["plateau_from"]:
        return True
    return False if after["x"] < before["plateau_from"] and before["x"] > after["plateau_to"] else None


STUDY = Study(
    "averaging",
    "Why averaging does not gain",
    "Why does averaging not gain from RI at its coefficient 1/N, and at which λ is it best?",
    "Averaging does not gain (within ±1.0 points): its coefficient 1/N is too small. After RI its best λ is larger.",
    _rounds,
    sensitivity.STUDY.charts,
    sensitivity.STUDY.summary,
    _verdict,
    tuple(item for item in sensitivity.STUDY.settings if item.name in ("levels", "images", "ri_seeds")),
    version="1",
)
