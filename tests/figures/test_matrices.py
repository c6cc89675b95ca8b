from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from plotly.colors import hex_to_rgb, label_rgb, unlabel_rgb

from ri_analysis.figures import look
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
    heatmaps = list(figure.select_traces({"type": "heatmap"}))
    assert heatmaps[2].z[0][0] == -0.25
    numbers = [list(trace.text) for trace in figure.select_traces({"type": "scatter"})]
    assert numbers == ([["0.50"] * 4, ["0.25"] * 4, ["−0.25"] * 4] if tasks == 2 else [])
    assert "95% interval" in figure.data[0].hovertext[0][0]
    assert (figure.layout.coloraxis2.cmin, figure.layout.coloraxis2.cmax) == (-0.25, 0.0)  # nothing rose


def test_a_signed_scale_ends_where_values_end_and_is_as_strong_on_both_sides():
    ends = {
        (0.5, 0.2): ("#F4F4F2", "#762A83", 0, 0.5),
        (-0.5, -0.2): ("#4D9221", "#F4F4F2", -0.5, 0),
        (-0.5, 0.5): ("#4D9221", "#762A83", -0.5, 0.5),
        (-0.25, 0.5): ("#A0C38A", "#762A83", -0.25, 0.5),  # halfway from white to green
        (0.0, np.nan): ("#4D9221", "#762A83", -1, 1),
    }
    for values, (low, high, least, most) in ends.items():
        table = pd.DataFrame([values], index=["a"], columns=["b", "c"])
        axis = before_and_after(Sides(table), Axes("a", "b", "cosine", "{row}{column}", signed=True)).layout.coloraxis
        assert (axis.colorscale[0][1], axis.colorscale[-1][1], axis.cmin, axis.cmax) == (low, high, least, most)
        zero = -axis.cmin / (axis.cmax - axis.cmin)
        assert "#F4F4F2" in [colour for place, colour in axis.colorscale if place == zero]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("low", [-1.0, 0.0])
def test_numbers_can_be_read_on_every_cell(dark: bool, signed: bool, low: float):
    values = np.linspace(low if signed else 0.0, 1.0, 96).reshape(12, 8)
    table = pd.DataFrame(values, index=[str(row) for row in range(12)], columns=list("abcdefgh"))
    figure = before_and_after(Sides(table, table[::-1] * 0.5), Axes("", "", "", "", signed=signed), dark=dark)
    for shown in (figure, look.in_light(figure)):
        for trace in shown.select_traces({"mode": "markers+text"}):
            axis = shown.layout[trace.marker.coloraxis]
            shares = np.interp(trace.marker.color, [axis.cmin, axis.cmax], [0, 1])
            places, stops = zip(*axis.colorscale, strict=True)
            parts = np.stack([np.interp(shares, places, part) for part in zip(*map(hex_to_rgb, stops), strict=True)])
            cells = [label_rgb(tuple(cell)) for cell in parts.T]
            assert len(cells) == 96
            assert min(map(contrast, trace.textfont.color, cells)) >= 4.5


def contrast(one: str, other: str) -> float:
    """WCAG 2.1's contrast ratio of two colours, written out by its definition."""
    darker, lighter = sorted(relative_luminance(colour) for colour in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def relative_luminance(colour: str) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def channels(colour: str) -> list[float]:
    rgb = unlabel_rgb(colour) if colour.startswith("rgb") else hex_to_rgb(colour)
    return [float(part) / 255 for part in rgb]


def test_a_diagonal_of_its_own_stays_out_of_scale_and_difference():
    names = ["a", "b"]
    before = pd.DataFrame([[9.0, 0.5], [0.25, 9.0]], index=names, columns=names)
    axes = Axes("expert", "task", "blame", "{row} on {column}", "nats", own="{row} on itself", signed=True)
    figure = before_and_after(
        Sides(before, before * 2), axes, Sides((before - 0.125, before + 0.125), (before * 2, before * 2))
    )
    assert figure.layout.coloraxis.cmax == 1.0
    assert figure.layout.coloraxis.colorbar.title.text == "blame (nats)"
    first, _, change = figure.select_traces({"type": "heatmap"})
    assert np.isnan(change.z[0][0])
    assert change.z[0][1] == 0.5
    assert first.hovertext[0][0].startswith("a on itself<br>blame 9.000 nats")
    assert first.hovertext[0][1] == "a on b<br>blame 0.500 nats (95% interval 0.375 to 0.625)"
    assert change.hovertext[1][0] == "b on a<br>blame 0.250 before, 0.500 after RI<br>change 0.250 nats"


def test_only_clear_changes_are_coloured():
    before = pd.DataFrame([[1.0, 1.0]], index=["a"], columns=["b", "c"])
    after = pd.DataFrame([[0.7, 0.5]], index=["a"], columns=["b", "c"])
    axes = Axes("expert", "task", "crosstalk", "{row} on {column}", "nats")
    # Ends 0.3 and 0.2 away: only the second difference is farther from 0 than √(0.3² + 0.2²) = 0.36.
    ends = Sides((before - 0.3, before + 0.3), (after - 0.2, after + 0.2))
    figure = before_and_after(Sides(before, after), axes, ends)
    change, numbers = [*figure.select_traces({"type": "heatmap"})][2], [*figure.select_traces({"type": "scatter"})][2]
    assert list(change.z[0]) == [0.0, -0.5]
    assert list(numbers.text) == ["−0.30", "−0.50"]
    assert change.hovertext[0][0].endswith("change −0.300 nats, no clear change")
    assert change.hovertext[0][1].endswith("change −0.500 nats")
