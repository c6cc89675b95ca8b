from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from ri_analysis.figures import look, surfaces

SCALES, COEFFICIENTS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6), (-0.5, 0.0, 0.5, 1.0, 1.5, 2.0)


BEST = {"kind": "best", "x": 0.05, "y": 2.0, "accuracy_low": 0.1, "accuracy_high": 0.9}


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
    contours = filled(figure)
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


def filled(figure: go.Figure) -> list[go.Contour]:
    """Return the coloured surfaces, without lines and shades that lie on them."""
    return list(figure.select_traces(lambda each: each.type == "contour" and each.contours.coloring is None
                                     and each.contours.type != "constraint"))  # fmt: skip


@pytest.mark.parametrize("dark", [False, True])
def test_numbers_on_contours_are_few_round_and_stand_out_in_both_themes(dark: bool):
    figure = surfaces.pair(surface(), dark=dark)
    for shown in (figure, look.in_light(figure)):
        numbered = list(shown.select_traces(lambda each: each.type == "contour" and each.contours.showlabels))
        for panel, axis in (("x", "coloraxis"), ("x2", "coloraxis"), ("x3", "coloraxis2")):
            mine = [each for each in numbered if (each.xaxis or "x") == panel]
            assert len(mine) <= 6
            for each in mine:
                scale = shown.layout[axis]
                (ground,) = look.shown_colours([each.contours.start], scale.colorscale, scale.cmin, scale.cmax)
                hexed = "#" + "".join(f"{int(channel):02X}" for channel in ground)
                assert look.contrast(each.contours.labelfont.color, hexed) >= 4.5
                assert each.contours.start / each.contours.size == pytest.approx(
                    round(each.contours.start / each.contours.size)
                )


def test_what_lies_within_a_point_of_the_best_is_shaded_once_the_best_is_known():
    table = surface()
    assert not shades(surfaces.pair(table))
    best = pd.DataFrame([table.iloc[0].to_dict() | BEST | {"accuracy": 0.6}])
    figure = surfaces.pair(pd.concat([table, best], ignore_index=True))
    assert {(each.xaxis, each.contours.value) for each in shades(figure)} == {("x", 0.59)}
    # Plotly fills what does not meet a constraint.
    assert {each.contours.operation for each in shades(figure)} == {"<"}
    assert figure.layout.annotations[0].text == "before RI: best 60.0% (10.0–90.0%)"
    (star,) = [each for each in figure.data if each.type == "scatter" and each.marker.symbol == "star"]
    assert "best: 60.0% (10.0–90.0%)" in star.hovertemplate
    assert "64 images" in star.hovertemplate


def shades(figure: go.Figure) -> list[go.Contour]:
    return list(figure.select_traces(lambda each: each.type == "contour" and each.contours.type == "constraint"))


def test_a_marginal_is_the_best_whatever_the_other_axis_is():
    figure = surfaces.marginals(surface(0.1))
    lines = {(each.xaxis, each.name): each for each in figure.data if each.mode == "lines+markers"}
    assert set(lines) == {(axis, f"best {stage} RI") for axis in ("x", "x2") for stage in ("before", "after")}
    along_x, along_y = lines["x", "best after RI"], lines["x2", "best after RI"]
    assert list(along_x.x) == list(SCALES)
    assert list(along_x.y) == pytest.approx([0.4 - 0.1 * x + 0.1 * 3.0 for x in SCALES])  # at the coefficient 2
    assert list(along_y.x) == list(COEFFICIENTS)
    assert list(along_y.y) == pytest.approx([0.4 - 0.005 + 0.1 * (1 + y) for y in COEFFICIENTS])
    assert "scale λ = 0.05, coefficient of MNIST = 2" in along_x.hovertext[0]
    assert "64 images" in along_x.hovertext[0]
    assert (figure.layout.xaxis.type, figure.layout.xaxis2.type) == ("log", "linear")


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
