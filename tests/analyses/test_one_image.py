"""One image under every model, beside outputs computed here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ri_analysis.analyses.image import ANALYSIS, Closely, answer_table
from ri_analysis.engine import Evaluator
from ri_analysis.errors import InputError
from ri_analysis.sides import Sides


@pytest.fixture
def recipes(evaluator: Evaluator) -> Sides:
    recipe = evaluator.recipe("task-arithmetic")
    return Sides(recipe, recipe.with_experts("mild"))


def test_the_probabilities_are_those_of_the_whole_set(evaluator: Evaluator, recipes: Sides):
    answer = ANALYSIS.ask(evaluator, recipes, {"task": "Greens", "index": 5})
    images, head = evaluator.suite.task_data("Greens"), evaluator.heads["Greens"]
    models = {"expert": evaluator.expert("Greens"), "merged": evaluator.model(recipes.before)}
    found: Closely = answer.results.before
    tokens = {}
    for name, model in models.items():
        features = evaluator.encoder.features(model.weights(None), images)
        probabilities = torch.softmax(head.logits(features), dim=1)[5]
        assert found.classes[name].to_numpy() == pytest.approx(probabilities.numpy(), abs=1e-5)
        [trace] = evaluator.encoder.block_tokens_of_many(model.weights(None), [(images, None)])
        tokens[name] = trace.tokens[:, 5]
    cosines = torch.nn.functional.cosine_similarity(tokens["expert"], tokens["merged"], dim=1)
    assert found.blocks["drift"].to_numpy() == pytest.approx(1 - cosines.numpy(), abs=1e-5)
    assert images.labels is not None
    assert np.flatnonzero(found.classes["right"]).tolist() == [images.labels[5]]
    assert found.classes[["zero_shot", "expert", "merged"]].sum().tolist() == pytest.approx([1, 1, 1])


def test_the_table_has_each_models_first_classes_and_the_right_one(evaluator: Evaluator, recipes: Sides):
    answer = ANALYSIS.ask(evaluator, recipes, {"task": "Greens", "index": 5})
    table = answer_table(answer)
    assert list(table.columns) == ["class", "right", "zero_shot", "expert", "before", "after"]
    assert table["right"].sum() == 1
    assert table["expert"].is_monotonic_decreasing
    said = ANALYSIS.says(answer)
    assert said.startswith(f"Image 5 of Greens is {table.loc[table['right'], 'class'].iloc[0]}. Zero-shot predicts")
    charts = ANALYSIS.charts(answer, False)
    assert [trace.name for trace in charts["image-answers"].figure.data][-1] == "merged after RI"


def test_an_image_that_is_not_there_is_refused(evaluator: Evaluator, recipes: Sides):
    with pytest.raises(InputError, match="image: Greens has images 0 to 23, found index 24"):
        ANALYSIS.ask(evaluator, recipes, {"task": "Greens", "index": 24})
