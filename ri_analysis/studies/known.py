"""Merges whose means a kept table of a study holds, while their outcomes image by image are not at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ri_analysis.engine import Evaluator
from ri_analysis.errors import InputError
from ri_analysis.merging import MergeRecipe
from ri_analysis.studies.conducting.tables import KeptTable
from ri_analysis.studies.methods import STUDY

TITLE = STUDY.title
_NUMBERS = ("accuracy", "accuracy_low", "accuracy_high", "interference", "interference_low", "interference_high", "n")


def known_means(evaluator: Evaluator) -> dict[MergeRecipe, dict[str, object]]:
    """Return what the study of all methods, at its default settings, has found of single merges of all tasks.

    Its means over several seeds are no merge's own and are left out. Empty where the study's table is not kept.
    """
    found = KeptTable.of_study(STUDY, {item.name: item.default for item in STUDY.settings}, evaluator).find()
    if found is None:
        return {}
    table = found.table
    single = table[(table["stage"] != "reference") & (table["seeds"] == 1)]
    means: dict[MergeRecipe, dict[str, object]] = {}
    for row in single.to_dict(orient="records"):
        recipe = _recipe(evaluator, row)
        if recipe is not None:
            means[recipe] = {name: row[name] for name in _NUMBERS}
    return means


def _recipe(evaluator: Evaluator, row: Mapping[Any, Any]) -> MergeRecipe | None:
    scale = {} if row["scale"] != row["scale"] else {"scale": row["scale"]}  # NaN where there is none
    try:
        return evaluator.recipe(row["method"], scale, experts=row["experts"], tasks=evaluator.suite.tasks)
    except InputError:
        return None
