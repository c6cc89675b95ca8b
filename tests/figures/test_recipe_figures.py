"""Figures of many recipes: what stands where, and in which colour."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ri_analysis.export import paper
from ri_analysis.figures import look, recipes
from ri_analysis.figures.look import Role

ENDS = {"accuracy_low": 0.3, "accuracy_high": 0.9, "n": 100}


def by_task() -> pd.DataFrame:
    rows = [
        {
            "recipe": recipe,
            "task": task,
            "accuracy": value + place / 10,
            "expert_accuracy": 0.9,
            "zero_shot_accuracy": 0.2,
            "normalised_accuracy": 0.5,
            "interference": 0.1,
            **ENDS,
        }
        for place, recipe in enumerate(("a", "b"))
        for task, value in (("MNIST", 0.5), ("Birds", 0.6))
    ]
    return pd.DataFrame(rows)


def test_each_recipe_has_its_points_in_its_look_beside_the_tasks_band() -> None:
    looks = {"b": Role("second", "#123456", "diamond"), "a": Role("first", "#654321", "circle")}
    figure = recipes.task_dots(by_task(), looks)
    second = next(trace for trace in figure.data if trace.name == "second")
    np.testing.assert_allclose(second.x, [0.6, 0.7])
    assert second.marker.color == "#123456"
    assert [round(y) for y in second.y] == [0, 1]
    assert list(figure.layout.yaxis.ticktext) == ["MNIST", "Birds"]
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(0.2, 0.9)] * 2
    assert "60.0%" in second.hovertext[0]
    assert paper.for_paper(figure, 5.5).data


def test_the_looks_of_expert_sets_are_those_of_before_and_after() -> None:
    roles = recipes.set_roles(("original", "other", "mix"), "mix")
    assert roles["original"].colour == look.BEFORE.colour
    assert roles["mix"].colour == look.AFTER.colour
    assert roles["other"].colour not in (look.BEFORE.colour, look.AFTER.colour)
    assert len({role.symbol for role in roles.values()}) == 3


def test_parallel_axes_run_from_the_least_to_the_most() -> None:
    table = pd.DataFrame(
        {
            "name": ["x", "y", "z"],
            "rate": [1e-4, 1e-3, 1e-2],
            "kind": ["p", "q", "p"],
            "accuracy": [0.5, 0.7, 0.6],
            **{name: [value] * 3 for name, value in ENDS.items()},
        }
    )
    figure = recipes.parallel(table, {"rate": "Rate", "kind": "Kind"}, ["rate"])
    lines = {trace.hovertext.partition("</b>")[0]: trace for trace in figure.data}
    np.testing.assert_allclose(lines["<b>y"].y, [0.5, 1.0, 1.0])  # the middle of a logarithmic axis
    np.testing.assert_allclose(lines["<b>z"].y, [1.0, 0.0, 0.5])
    assert list(figure.layout.xaxis.ticktext) == ["Rate", "Kind", "mean accuracy"]
    assert {note.text for note in figure.layout.annotations} == {"0.0001", "0.01", "p", "q", "50.0%", "70.0%"}
    assert figure.data[-1].hovertext.startswith("<b>y")  # the best is drawn last, on top


def test_shares_that_are_not_known_are_left_out() -> None:
    table = pd.DataFrame({"setting": ["a", "b"], "share": [0.5, np.nan], "levels": [2, 9], "n": [10, 10]})
    figure = recipes.shares(table, {"a": "Scale λ"})
    assert list(figure.data[0].y) == ["Scale λ"]
    assert "2 values, 10 recipes" in figure.data[0].hovertext[0]


def test_expert_sets_stand_side_by_side_in_a_row_for_each_merge() -> None:
    table = pd.DataFrame(
        {"merge": ["A", "A", "B"], "experts": ["original", "mix", "original"], "accuracy": [0.5, 0.6, 0.4]}
    )
    figure = recipes.expert_sets(table.assign(**ENDS), recipes.set_roles(("original", "mix"), "mix"))
    before, after = figure.data
    np.testing.assert_allclose(before.x, [0.5, 0.4])
    assert [round(y) for y in before.y] == [0, 1]
    assert list(after.x) == [0.6]
    assert after.marker.color == look.AFTER.colour
