"""λ without labels: values by hand, and the grid that goes on where it ends at its best value."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
import torch

from ri_analysis.analyses.analysis import Answer
from ri_analysis.analyses.scale import ANALYSIS, IMAGES, alike, chosen_scale, of_outcomes
from ri_analysis.engine import Evaluator
from ri_analysis.engine.grids import at_scale, find_scale, scales
from ri_analysis.engine.outcomes import Outcome, Outcomes
from ri_analysis.engine.sections import usual_source
from ri_analysis.merging import find_method
from ri_analysis.sides import Sides


def outcomes(*tasks: list[float]) -> Outcomes:
    rows, nothing = np.arange(len(tasks[0])), np.zeros(len(tasks[0]), np.int32)
    found = {str(place): Outcome(rows, nothing, None, np.array(each, np.float32)) for place, each in enumerate(tasks)}
    return Outcomes(found)


def test_an_image_is_one_observation_whatever_the_heads():
    table = of_outcomes({0.5: outcomes([1, 3], [3, 5]), 1.0: outcomes([1, 1], [1, 2])})
    assert table["interference"].tolist() == [3.0, 1.25]  # images: 2 and 4; 1 and 1.5
    assert table["change"].tolist() == [1.75, 0.0]  # images: 1 and 2.5
    assert table["least"].tolist() == [False, True]
    spread = 1.959964 * np.sqrt(0.75**2 / 2)  # of 1 and 2.5, normal
    assert table.loc[0, ["change_low", "change_high"]].tolist() == pytest.approx([1.75 - spread, 1.75 + spread])
    assert table["n"].tolist() == [2, 2]


def test_neighbours_of_the_least_are_alike_until_one_is_clearly_worse():
    table = pd.DataFrame(
        {
            "scale": [0.1, 0.2, 0.4, 0.8, 1.6],
            "change_low": [-0.1, 0.1, -0.1, 0.0, -0.2],
            "least": [False, False, False, True, False],
        }
    )
    assert alike(table) == (0.4, 1.6)
    assert chosen_scale(table) == 0.8


def test_the_sentence_names_the_value_and_those_that_are_not_clearly_worse(evaluator: Evaluator):
    recipe = evaluator.recipe("task-arithmetic")
    table = of_outcomes(
        {0.2: outcomes([3, 3.1]), 0.4: outcomes([1, 1.3]), 0.8: outcomes([1.2, 1.0]), 1.6: outcomes([9, 9.5])}
    )
    said = ANALYSIS.says(Answer("scale", Sides(recipe), Sides(table), {}))
    assert said == (
        "Least interference at **λ = 0.8** before RI (0.4 to 0.8 are not clearly worse); the method's default is 0.3."
    )


def test_it_finds_the_least_of_what_is_measured_and_looks_beyond_the_end(evaluator: Evaluator):
    recipe = evaluator.recipe("task-arithmetic")
    recipes = Sides(recipe, recipe.with_experts("mild"))
    answer = ANALYSIS.ask(evaluator, recipes, limit=IMAGES)
    grid = scales(find_method("task-arithmetic"), 11)
    for table in answer.results:
        assert set(grid) <= set(table["scale"])
        inside = table["scale"].min() < chosen_scale(table) < table["scale"].max()
        assert inside or len(table) == len(grid) + 6
    assert len(answer.results.last) == len(grid) + 6  # these experts are random, so that the smaller λ the better
    assert "the edge of the range tried: a lower λ may be better" in ANALYSIS.says(answer)
    assert ANALYSIS.known(evaluator, recipe, {}, IMAGES)
    table = answer.results.before
    for row in table.iloc[[0, -1]].to_dict(orient="records"):
        assert row["interference"] == pytest.approx(naive(evaluator, row["scale"]), rel=1e-4)


def naive(evaluator: Evaluator, scale: float) -> float:
    """Return the mean KL(expert ‖ θ₀ + λ Σ τ_t) over all auxiliary images and heads."""
    suite, images = evaluator.suite, evaluator.suite.auxiliary_data(usual_source(evaluator.suite))

    def outputs(weights: Mapping[str, torch.Tensor], task: str) -> torch.Tensor:
        features = evaluator.encoder.features(weights, images, range(len(images)))
        return evaluator.heads[task].logits(features).double().log_softmax(dim=1)

    vectors = suite.task_vectors("original", suite.tasks)
    experts = {task: {name: vectors.expert(name, task) for name in vectors.names} for task in suite.tasks}
    merged = {
        name: start + scale * sum(experts[task][name] - start for task in suite.tasks)
        for name, start in ((name, vectors.pretrained(name)) for name in vectors.names)
    }
    found = []
    for task in suite.tasks:
        teacher, student = outputs(experts[task], task), outputs(merged, task)
        found.append(float((teacher.exp() * (teacher - student)).sum(dim=1).mean()))
    return float(np.mean(found))


def test_the_answer_is_the_same_whatever_the_recipe_s_own_scale(evaluator: Evaluator):
    evaluator.choose_number_format()
    recipe = evaluator.recipe("task-arithmetic")
    item = find_scale(find_method("task-arithmetic"))
    assert item is not None
    other = at_scale(recipe, 2 * float(item.default))
    keys = {ANALYSIS.key(evaluator, each, {}, IMAGES) for each in (recipe, other)}
    assert len(keys) == 1
    assert ANALYSIS.key(evaluator, recipe.with_experts("mild"), {}, IMAGES) not in keys


def test_it_says_why_it_cannot_be_asked(evaluator: Evaluator):
    assert "has no λ" in ANALYSIS.refusal(evaluator, evaluator.recipe("karcher"))
