from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ri_analysis.figures.matrices import Axes, before_and_after
from ri_analysis.sides import Sides


@pytest.mark.parametrize("tasks", [2, 20])
def test_matrices_share_a_scale_and_print_when_few(tasks: int):
    names = [f"task {index}" for index in range(tasks)]
    before = pd.DataFrame(0.5, index=names, columns=names)
    axes = Axes("expert", "task", "nats", "{row} on {column}")
    figure = before_and_after(Sides(before, before * 0.5), axes, Sides((before, before), (before * 0.5, before * 0.5)))
    assert figure.layout.coloraxis.cmin == 0
    assert figure.layout.coloraxis.cmax == 0.5
    assert figure.data[2].z[0][0] == -0.25
    assert (figure.data[0].texttemplate is not None) == (tasks == 2)
    assert "95% interval" in figure.data[0].hovertext[0][0]
    signed = before_and_after(Sides(-before), Axes("a", "b", "cosine", "{row}{column}", signed=True))
    assert (signed.layout.coloraxis.cmin, signed.layout.coloraxis.cmax) == (-0.5, 0.5)


def test_a_diagonal_of_its_own_stays_out_of_scale_and_difference():
    names = ["a", "b"]
    before = pd.DataFrame([[9.0, 0.5], [0.25, 9.0]], index=names, columns=names)
    axes = Axes("expert", "task", "blame", "{row} on {column}", "nats", own="{row} on itself", signed=True)
    figure = before_and_after(
        Sides(before, before * 2), axes, Sides((before - 0.125, before + 0.125), (before * 2, before * 2))
    )
    assert figure.layout.coloraxis.cmax == 1.0
    assert figure.layout.coloraxis.colorbar.title.text == "blame (nats)"
    assert np.isnan(figure.data[2].z[0][0])
    assert figure.data[2].z[0][1] == 0.5
    assert figure.data[0].hovertext[0][0].startswith("a on itself<br>blame 9.000 nats")
    assert figure.data[0].hovertext[0][1] == "a on b<br>blame 0.500 nats (95% interval 0.375 to 0.625)"
    assert figure.data[2].hovertext[1][0] == "b on a<br>blame 0.250 before, 0.500 after RI<br>change 0.250 nats"


def test_only_clear_changes_are_coloured():
    before = pd.DataFrame([[1.0, 1.0]], index=["a"], columns=["b", "c"])
    after = pd.DataFrame([[0.7, 0.5]], index=["a"], columns=["b", "c"])
    axes = Axes("expert", "task", "crosstalk", "{row} on {column}", "nats")
    # Ends 0.3 and 0.2 away: only the second difference is farther from 0 than √(0.3² + 0.2²) = 0.36.
    ends = Sides((before - 0.3, before + 0.3), (after - 0.2, after + 0.2))
    change = before_and_after(Sides(before, after), axes, ends).data[2]
    assert list(change.z[0]) == [0.0, -0.5]
    assert [list(row) for row in change.text] == [["−0.30", "−0.50"]]
    assert change.hovertext[0][0].endswith("change −0.300 nats, no clear change")
    assert change.hovertext[0][1].endswith("change −0.500 nats")
