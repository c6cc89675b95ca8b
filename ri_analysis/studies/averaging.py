"""Why does plain averaging gain nothing from RI? Its curve over the factor λ of the mean."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.figures import words
from ri_analysis.hyperparameters import Value
from ri_analysis.studies import sensitivity
from ri_analysis.studies.adapted import expert_sets
from ri_analysis.studies.study import Rounds, Study, beside_the_paper

_AXES: dict[str, Value] = {"methods": "averaging", "x": "scale", "y": "", "seed": 0}


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    sets = yield from expert_sets(evaluator, settings)
    return (yield from sensitivity.study_field(sensitivity.fields(evaluator, {**settings, **_AXES}, sets)))


def _verdict(table: pd.DataFrame) -> str:
    own = table[(table["run"] == 0) & (table["kind"] != "grid")]
    rows = {(row["stage"], row["kind"]): row for row in own.to_dict(orient="records")}
    if ("after", "best") not in rows:
        return "There is no RI-adapted expert set, so nothing to compare with."
    change = {kind: rows["after", kind]["accuracy"] - rows["before", kind]["accuracy"] for kind in ("default", "best")}
    peaks = {stage: rows[stage, "best"]["x"] for stage in ("before", "after")}
    later = "later" if peaks["after"] > peaks["before"] else "no later"
    return (
        f"At λ = 1, that is 1/N for each expert, RI changes accuracy by {words.points(change['default'])}; at the best "
        f"λ of each by {words.points(change['best'])}. The curve peaks at λ = {peaks['before']:.3g} before RI and at "
        f"{peaks['after']:.3g} after it: {later}, as far as the plateaus allow to tell. "
        + beside_the_paper(
            {
                "averaging at 1/N changes by at most 1 point": abs(change["default"]) <= 0.01,
                "the curve peaks later after RI": peaks["after"] > peaks["before"],
            }
        )
    )


STUDY = Study(
    "averaging",
    "Why averaging gains nothing",
    "Why does plain averaging gain nothing from RI at 1/N, and where does its curve over λ peak?",
    "Plain averaging gains nothing (±1.0): its coefficient 1/N is too small. Its curve over λ peaks later after RI.",
    _rounds,
    sensitivity.STUDY.charts,
    sensitivity.STUDY.summary,
    _verdict,
    tuple(item for item in sensitivity.STUDY.settings if item.name in ("levels", "images", "ri_seeds")),
)
