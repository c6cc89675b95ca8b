from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from ri_analysis.divergences import kl_divergence
from ri_analysis.measures import (
    accuracy_table,
    crosstalk_table,
    interference_table,
    mean_accuracy,
    mean_interference,
    off_diagonal_mean,
)


def test_interference_worked_by_hand() -> None:
    # Two images, two classes. Expert probabilities (3/4, 1/4) and (1/2, 1/2); merged (1/2, 1/2) and (1/4, 3/4).
    # ξ = ½ [ ¾ ln 3/2 + ¼ ln 1/2 + ½ ln 2 + ½ ln 2/3 ]
    expert = torch.log(torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
    merged = torch.log(torch.tensor([[0.5, 0.5], [0.25, 0.75]]))
    by_hand = 0.5 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5) + 0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    table = interference_table({"t": kl_divergence(expert, merged).numpy()})
    assert table.loc[0, "interference"] == pytest.approx(by_hand, abs=1e-6)
    assert table.loc[0, "n"] == 2
    assert table.loc[0, "interference_low"] <= by_hand <= table.loc[0, "interference_high"]


def test_mean_interference_is_the_mean_over_tasks_not_over_images() -> None:
    mean, (low, high) = mean_interference({"a": np.array([1.0, 1.0]), "b": np.zeros(100)})
    assert mean == 0.5
    assert (low, high) == (0.5, 0.5)


def test_accuracy_table_counts() -> None:
    right, wrong = np.array([True, True, True, False]), np.array([False, False, True, False])
    table = accuracy_table({"t": wrong}, {"t": right}, {"t": np.zeros(4, bool)})
    row = table.iloc[0]
    assert (row.accuracy, row.expert_accuracy, row.zero_shot_accuracy, row.n) == (0.25, 0.75, 0.0, 4)
    assert row.normalised_accuracy == pytest.approx(1 / 3)
    assert row.accuracy_low < 0.25 < row.accuracy_high


def test_normalised_accuracy_without_any_right_expert_is_not_a_number() -> None:
    none = {"t": np.zeros(3, bool)}
    assert math.isnan(accuracy_table(none, none, none).loc[0, "normalised_accuracy"])


def test_mean_accuracy_weighs_tasks_equally() -> None:
    mean, _ = mean_accuracy({"a": np.ones(2, bool), "b": np.zeros(50, bool)})
    assert mean == 0.5


def test_crosstalk_leaves_the_diagonal_out_of_the_mean() -> None:
    values = {("a", "a"): 9.0, ("a", "b"): 1.0, ("b", "a"): 3.0, ("b", "b"): 9.0}
    table = crosstalk_table({pair: np.full(5, value) for pair, value in values.items()})
    assert off_diagonal_mean(table) == 2.0
    assert table.columns.tolist() == ["expert", "task", "crosstalk", "crosstalk_low", "crosstalk_high", "n"]
    assert math.isnan(off_diagonal_mean(pd.DataFrame(table.iloc[:1])))
