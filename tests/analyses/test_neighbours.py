"""Nearest neighbours, beside cosines of features computed here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import TASKS

from ri_analysis.analyses.neighbours import ANALYSIS, neighbour_table
from ri_analysis.engine import Evaluator
from ri_analysis.engine.models import PRETRAINED
from ri_analysis.errors import InputError
from ri_analysis.sides import Sides


@pytest.fixture
def recipes(evaluator: Evaluator) -> Sides:
    recipe = evaluator.recipe("task-arithmetic")
    return Sides(recipe, recipe.with_experts("mild"))


def test_neighbours_are_the_images_with_the_largest_cosines(evaluator: Evaluator, recipes: Sides):
    answer = ANALYSIS.ask(evaluator, recipes, {"task": "Greens", "index": 5, "count": 4})
    table = neighbour_table(answer)
    assert list(dict.fromkeys(table["model"])) == ["pretrained", "expert", "before", "after"]
    models = {
        "pretrained": lambda _: evaluator.measurement.reference(PRETRAINED),
        "expert": evaluator.expert,
        "before": lambda _: evaluator.model(recipes.before),
        "after": lambda _: evaluator.model(list(recipes)[1]),
    }
    for name, model in models.items():
        places, features = [], []
        for task in TASKS:
            found = evaluator.encoder.features(model(task).weights(None), evaluator.suite.task_data(task))
            features.append(torch.nn.functional.normalize(found.double(), dim=1))
            places += [(task, index) for index in range(len(found))]
        one = places.index(("Greens", 5))
        cosines = (torch.cat(features) @ torch.cat(features)[one]).numpy()
        cosines[one] = -np.inf
        best = np.sort(cosines)[::-1][:4]
        rows = table[table["model"] == name]
        assert rows["cosine"].to_numpy() == pytest.approx(best, abs=1e-5)
        at = [places.index((row.task, row.index_)) for row in rows.rename(columns={"index": "index_"}).itertuples()]
        assert cosines[at] == pytest.approx(best, abs=1e-5)
        assert rows["rank"].tolist() == [1, 2, 3, 4]
    assert answer.results.before.n == len(places) - 1


def test_what_is_of_its_own_class_is_counted_and_drawn(evaluator: Evaluator, recipes: Sides):
    answer = ANALYSIS.ask(evaluator, recipes, {"task": "Reds", "index": 2})
    table = neighbour_table(answer)
    task = evaluator.suite.task_data("Reds")
    assert task.labels is not None
    truth = evaluator.heads["Reds"].classes[task.labels[2]]
    assert table["same"].tolist() == ((table["task"] == "Reds") & (table["class"] == truth)).tolist()
    own = table[table["model"] == "expert"]["same"].sum()
    assert f"{own} of 8 under its expert" in ANALYSIS.says(answer)
    [chart] = ANALYSIS.charts(answer, False).values()
    assert sum(len(trace.x) for trace in chart.figure.data) == len(table)


def test_an_image_that_is_not_there_is_refused(evaluator: Evaluator, recipes: Sides):
    with pytest.raises(InputError, match="neighbours: Greens has images 0 to 23, found index 24"):
        ANALYSIS.ask(evaluator, recipes, {"task": "Greens", "index": 24})
