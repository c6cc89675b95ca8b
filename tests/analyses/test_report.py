from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tiny import TASKS

from ri_analysis.analyses.report import as_json, chosen
from ri_analysis.engine import Evaluator
from ri_analysis.json_text import to_json
from ri_analysis.measures.distances import DISTANCES
from ri_analysis.merging import MergeRecipe
from ri_analysis.sides import Sides


def report(evaluator: Evaluator, recipe: MergeRecipe, *, blame: bool = False) -> dict[str, Any]:
    answers = {each.name: each.ask(evaluator, Sides(recipe), limit=each.limit) for each in chosen((), blame=blame)}
    return json.loads(to_json(as_json(evaluator, Sides(recipe), answers, whole=False)))


def test_report_is_json_and_agrees_with_its_parts(evaluator: Evaluator) -> None:
    recipe = evaluator.recipe("averaging", experts="ri")
    found = report(evaluator, recipe, blame=True)
    crosstalk = evaluator.crosstalk("mild").set_index(["expert", "task"]).crosstalk
    off = [found["crosstalk"][one][two] for one in TASKS for two in TASKS if one != two]
    assert found["crosstalk"]["Reds"]["Blues"] == pytest.approx(crosstalk["Reds", "Blues"])
    assert found["crosstalk_off_diagonal_mean"] == pytest.approx(np.mean(off))
    assert len(found["drift_by_block"]) == 6
    assert set(found["drift"]) == set(DISTANCES)
    assert len(found["blame"]) == 6
    assert found["weight_space"]["cosine"]["Reds"]["Reds"] == pytest.approx(1)
    assert found["weight_space"]["cosine_with_crosstalk"]["pairs"] == 3
    assert report(evaluator, recipe)["blame"] is None
