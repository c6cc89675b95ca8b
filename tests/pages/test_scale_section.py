"""λ without labels, on the Sensitivity page."""

from __future__ import annotations

import pytest
from shown import clean, text
from streamlit.testing.v1 import AppTest

from ri_analysis.analyses.scale import ANALYSIS, chosen_scale
from ri_analysis.engine import Evaluator
from ri_analysis.studies import sensitivity


def test_the_value_found_becomes_that_of_the_recipe(
    app: AppTest, evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensitivity, "OWN_LEVELS", 2)
    monkeypatch.setattr(sensitivity, "OWN_IMAGES", 2)
    evaluator.choose_number_format()
    recipe = evaluator.recipe("task-arithmetic")
    best = chosen_scale(ANALYSIS.result(evaluator, recipe, {}, ANALYSIS.limits[-1], None))
    after = evaluator.suite.default_resolved
    assert after is not None
    ANALYSIS.result(evaluator, recipe.with_experts(after), {}, ANALYSIS.limits[-1], None)
    page = clean(app.switch_page("pages/sensitivity.py").run())
    assert "Least interference at" in text(page)
    [button] = [each for each in page.button if f"λ = {best:g}, chosen before" in each.label]
    page = clean(button.click().run())
    assert f"scale λ = {best:g}" in text(page)
    [button] = [each for each in page.button if f"λ = {best:g}, chosen before" in each.label]
    assert button.disabled
