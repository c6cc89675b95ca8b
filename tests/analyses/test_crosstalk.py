from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ri_analysis.analyses.crosstalk import ANALYSIS, crosstalk_matrices
from ri_analysis.engine import Evaluator
from ri_analysis.sides import Sides

TASKS = ["MNIST", "Letters", "Birds"]


def crosstalk(level: float, tasks: list[str] = TASKS) -> pd.DataFrame:
    rows = []
    for row, expert in enumerate(tasks):
        for column, task in enumerate(tasks):
            value = 9.0 if row == column else level * (1 + row + 2 * column)
            rows.append((expert, task, value, value / 2, value * 2, 50))
    return pd.DataFrame(rows, columns=["expert", "task", "crosstalk", "crosstalk_low", "crosstalk_high", "n"])


def test_crosstalk_shares_one_scale_and_leaves_the_diagonal_out():
    before, after = crosstalk(0.1), crosstalk(0.01)
    figure = crosstalk_matrices(Sides(before, after))
    first, second, change = figure.select_traces({"type": "heatmap"})
    assert first.coloraxis == second.coloraxis == "coloraxis"
    assert change.coloraxis == "coloraxis2"
    assert np.isnan(np.diag(np.array(first.z, dtype=float))).all()
    assert first.z[0][1] == pytest.approx(0.3)  # expert 0 moves task 1: 0.1 · (1 + 0 + 2)
    assert first.z[1][0] == pytest.approx(0.2)
    np.testing.assert_allclose(change.z, np.array(second.z, float) - np.array(first.z, float))
    assert figure.layout.coloraxis.cmin == 0
    assert figure.layout.coloraxis.cmax == pytest.approx(0.6)  # the diagonal's 9 nats have no part in it
    assert (figure.layout.coloraxis2.cmin, figure.layout.coloraxis2.cmax) == pytest.approx((-0.54, 0.0))  # all fell
    assert "what it learned" in first.hovertext[0][0]
    assert "before" in change.hovertext[0][1]


def test_crosstalk_prints_values_only_where_there_is_room():
    few = crosstalk_matrices(Sides(crosstalk(0.1), crosstalk(0.01)))
    numbers, *_ = few.select_traces({"mode": "markers+text"})
    written = dict(zip(zip(numbers.y, numbers.x, strict=True), numbers.text, strict=True))
    one, other, _ = dict.fromkeys(numbers.y)
    assert written[one, other] == "0.30"
    assert (one, one) not in written
    tasks = [f"task {index}" for index in range(20)]
    many = crosstalk_matrices(Sides(crosstalk(0.1, tasks), crosstalk(0.01, tasks)))
    assert not list(many.select_traces({"mode": "markers+text"}))
    assert many.layout.height > few.layout.height


def test_with_one_expert_there_is_nothing_to_draw(evaluator: Evaluator):
    answer = ANALYSIS.ask(evaluator, Sides(evaluator.recipe("averaging", tasks=["Reds"])))
    assert ANALYSIS.charts(answer, False) == {}
    assert "no other task" in ANALYSIS.says(answer)
    assert len(ANALYSIS.tables(answer)["crosstalk"]) == 1
