"""Which classes turn into which, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ri_analysis.analyses.analysis import Answer
from ri_analysis.analyses.drift import Drift
from ri_analysis.analyses.flips import ANALYSIS, OTHERS, flip_table, shown_classes
from ri_analysis.engine import Evaluator
from ri_analysis.figures.matrices import with_points
from ri_analysis.intervals import wilson
from ri_analysis.sides import Sides

ABC = ("a", "b", "c")


def drift(expert: list[int], merged: list[int], labels: list[int], classes: tuple[str, ...] = ABC) -> Drift:
    as_arrays = [{"T": np.array(each)} for each in (expert, merged, range(len(expert)), labels)]
    flat = {"T": np.zeros(len(expert), np.float32)}
    return Drift(*as_arrays[:2], {"kl": flat}, *as_arrays[2:], {"T": classes}, full=True)


def answer(sides: Sides[Drift], evaluator: Evaluator, rows: str = "expert") -> Answer[Drift]:
    recipe = evaluator.recipe("task-arithmetic")
    recipes = Sides.of([recipe, recipe.with_experts("mild")][: len(sides)])
    return Answer("flips", recipes, sides, {"task": "T", "rows": rows})


BEFORE = drift(expert=[0, 0, 0, 0, 1, 2], merged=[0, 1, 1, 2, 1, 0], labels=[0, 0, 1, 0, 1, 1])
AFTER = drift(expert=[0, 0, 0, 0, 1, 2], merged=[0, 0, 1, 0, 1, 2], labels=[0, 0, 1, 0, 1, 1])


def test_pairs_of_classes_are_counted_in_the_order_of_the_classes():
    table = flip_table(BEFORE, "T", "expert")
    found = table[["from", "to", "count", "n"]].to_numpy().tolist()
    assert found == [["a", "a", 1, 4], ["a", "b", 2, 4], ["a", "c", 1, 4], ["b", "b", 1, 1], ["c", "a", 1, 1]]
    assert table["share"].tolist() == [0.25, 0.5, 0.25, 1, 1]
    assert tuple(table.loc[1, ["share_low", "share_high"]]) == pytest.approx(tuple(wilson(2, 4)))


def test_the_true_classes_make_a_confusion_matrix():
    table = flip_table(BEFORE, "T", "class")
    found = table[["from", "to", "count", "n"]].to_numpy().tolist()
    assert found == [["a", "a", 1, 3], ["a", "b", 1, 3], ["a", "c", 1, 3], ["b", "a", 1, 3], ["b", "b", 2, 3]]


def test_the_figure_leaves_out_what_stays_and_says_zero_where_nothing_becomes_it(evaluator: Evaluator):
    chart = ANALYSIS.charts(answer(Sides(BEFORE, AFTER), evaluator), False)["flips"]
    before, after, change = (each for each in chart.figure.data if each.type == "heatmap")
    assert np.array_equal(before.z, [[np.nan, 0.5, 0.25], [0, np.nan, 0], [1, 0, np.nan]], equal_nan=True)
    assert np.array_equal(after.z, [[np.nan, 0.25, 0], [0, np.nan, 0], [0, 0, np.nan]], equal_nan=True)
    assert np.nansum(np.abs(change.z)) == 0  # six images make no change clear
    assert (
        before.hovertext[0][0]
        == "both predict a<br>share of the row's images 0.250 (95% interval 0.046 to 0.699)<br>1 of 4 images"
    )
    assert after.hovertext[2][0].endswith("0 of 1 image")
    assert chart.n == "Based on 6 images of T."


def test_the_sentence_counts_flips_before_and_after(evaluator: Evaluator):
    said = ANALYSIS.says(answer(Sides(BEFORE, AFTER), evaluator))
    assert said == (
        "Images of T whose predicted class differs from the expert's prediction: **4** before RI, most often a → b "
        "(2); **1** after RI, most often a → b (1)."
    )
    same = drift([0, 1], [0, 1], [0, 1])
    assert ANALYSIS.says(answer(Sides(same), evaluator)).endswith("none before RI.")


def test_many_classes_leave_a_row_to_those_that_change_most(evaluator: Evaluator):
    names = tuple(f"class {place}" for place in range(30))
    expert, merged = (
        list(range(30)) * 2,
        list(range(30)) + [(place + 1) % 30 if place < 8 else place for place in range(30)],
    )
    many = drift(expert, merged, expert, names)
    tables = Sides(flip_table(many, "T", "expert"))
    shown = shown_classes(tables)
    assert shown[:9] == list(names[:9])
    assert len(shown) < 12
    chart = ANALYSIS.charts(answer(Sides(many), evaluator), False)["flips"]
    assert chart.figure.data[0].y[-1] == OTHERS
    assert f"The {len(shown)} classes that change most" in chart.how_to_read


def test_every_cell_can_be_clicked(evaluator: Evaluator):
    chart = ANALYSIS.charts(answer(Sides(BEFORE), evaluator), False)["flips"]
    points = with_points(chart.figure).data[-1]
    assert [tuple(each) for each in points.customdata][:3] == [("a", "a"), ("a", "b"), ("a", "c")]
    assert points.hovertext[1].startswith("the expert predicts a, the merged model b")
    assert len(chart.figure.data) == len(with_points(chart.figure).data) - 1
