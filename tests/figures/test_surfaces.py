from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ri_analysis.figures import surfaces

SCALES, COEFFICIENTS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6), (-0.5, 0.0, 0.5, 1.0, 1.5, 2.0)


def surface(lift: float = 0.1) -> pd.DataFrame:
    axes = {"method": "task-arithmetic", "x_name": "scale", "y_name": "MNIST", "run": 0, "n": 64}
    rows = [
        axes
        | {"stage": stage, "kind": "grid", "x": x, "y": y, "accuracy": 0.4 - 0.1 * x + more * (1 + y)}
        | {"accuracy_low": 0.1, "accuracy_high": 0.9, "interference": 0.2}
        for stage, more in (("before", 0.0), ("after", lift))
        for x in SCALES
        for y in COEFFICIENTS
    ]
    return pd.DataFrame([*rows, rows[0] | {"kind": "default", "x": 0.3, "y": 1.0}])


def test_a_surface_stands_at_its_true_places():
    figure = surfaces.pair(surface(), here=(0.3, 0.7))
    contours = list(figure.select_traces({"type": "contour"}))
    assert [list(each.x) for each in contours] == [list(SCALES)] * 3
    assert [list(each.y) for each in contours] == [list(COEFFICIENTS)] * 3
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", "linear")
    assert list(figure.layout.xaxis.tickvals) == [0.05, 0.1, 0.2, 0.5, 1.0]
    assert list(figure.layout.xaxis.ticktext) == ["0.05", "0.1", "0.2", "0.5", "1"]
    low, high = figure.layout.xaxis3.range
    assert low < np.log10(0.05) < np.log10(1.6) < high
    dots, *_ = [trace for trace in figure.data if trace.customdata is not None]
    assert [list(pair) for pair in dots.customdata] == [[x, y] for x, y in zip(dots.x, dots.y, strict=True)]
    cross = figure.data[-1]
    assert (list(cross.x), list(cross.y)) == ([0.3], [0.7])


def test_axes_have_titles_in_words():
    layout = surfaces.pair(surface()).layout
    assert layout.xaxis.title.text == "scale λ"
    assert layout.yaxis.title.text == "coefficient of MNIST"
    ties = surface().assign(method="ties", y_name="density")
    assert surfaces.pair(ties).layout.yaxis.title.text == "density"


@pytest.mark.parametrize(("lift", "ends"), [(0.1, (0.0, 30.0)), (-0.1, (-30.0, 0.0))])
def test_changes_are_in_points_on_the_half_that_occurs(lift: float, ends: tuple[float, float]):
    layout = surfaces.pair(surface(lift)).layout
    assert (layout.coloraxis2.cmin, layout.coloraxis2.cmax) == pytest.approx(ends)
    assert "points" in layout.coloraxis2.colorbar.title.text
    assert layout.coloraxis2.colorbar.dtick == 10.0
    assert layout.coloraxis.colorbar.dtick == 0.1


def test_contours_lie_at_round_values():
    contours = surfaces.pair(surface()).data[0].contours
    assert contours.size in (0.01, 0.02, 0.05, 0.1)
    assert contours.start / contours.size == pytest.approx(round(contours.start / contours.size))


def test_labels_of_a_logarithmic_axis_are_round_and_few():
    for values, shown in {
        (0.1, 1.0, 10.0): ["0.1", "0.2", "0.5", "1", "2", "5", "10"],
        (1e-4, 1e-2, 1.0): ["0.0001", "0.001", "0.01", "0.1", "1"],
        (0.3, 0.36, 0.432): ["0.3", "0.43"],
    }.items():
        log = surfaces.axis_scale(np.array(values))
        assert (log["type"], log["ticktext"]) == ("log", shown)
    assert surfaces.axis_scale(np.array([-0.5, 0.0, 0.5]))["type"] == "linear"
