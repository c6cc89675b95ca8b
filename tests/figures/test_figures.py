from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ri_analysis import figures
from ri_analysis.export import paper
from ri_analysis.figures import look, words
from ri_analysis.sides import Sides

TASKS = ["MNIST", "Letters", "Birds"]


def evaluation(shift: float = 0.0, tasks: list[str] = TASKS) -> pd.DataFrame:
    """A table as evaluations make it, with numbers that differ in every cell."""
    place = np.arange(len(tasks), dtype=float)
    table = pd.DataFrame({"task": tasks})
    for name, level in (("zero_shot_accuracy", 0.2), ("accuracy", 0.4 + shift), ("expert_accuracy", 0.7)):
        table[name] = level + 0.01 * place
        table[f"{name}_low"], table[f"{name}_high"] = table[name] - 0.03, table[name] + 0.05
    table["normalised_accuracy"] = table["accuracy"] / table["expert_accuracy"]
    table["n"] = 100 + place.astype(int)
    table["interference"] = 0.5 - shift + 0.02 * place
    table["interference_low"], table["interference_high"] = table["interference"] - 0.1, table["interference"] + 0.2
    return table


def trace(figure, name):
    return next(item for item in figure.data if item.name == name)


def test_accuracy_by_task_shows_the_table_and_its_intervals():
    before, after = evaluation(), evaluation(0.1)
    figure = figures.accuracy_by_task(Sides(before, after))
    for role, table, column in (
        (look.ZERO_SHOT, before, "zero_shot_accuracy"),
        (look.EXPERT, before, "expert_accuracy"),
        (look.BEFORE, before, "accuracy"),
        (look.AFTER, after, "accuracy"),
    ):
        np.testing.assert_array_equal(trace(figure, role.name).x, table[column])
    error = trace(figure, look.AFTER.name).error_x
    np.testing.assert_allclose(error.array, 0.05)
    np.testing.assert_allclose(error.arrayminus, 0.03)
    assert list(figure.layout.yaxis.ticktext) == TASKS
    assert figure.layout.xaxis.title.text == "accuracy"
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == list(
        zip(before["zero_shot_accuracy"], before["expert_accuracy"], strict=True)
    )


def test_hover_says_interval_expert_and_number_of_images():
    text = trace(figures.accuracy_by_task(Sides(evaluation())), look.BEFORE.name).hovertext[0]
    for part in ("MNIST", "40.0%", "37.0–45.0%", "57% of the expert's 70.0%", "zero-shot 20.0%", "100 images"):
        assert part in text


def test_colours_of_roles_are_the_same_in_every_figure():
    before, after = evaluation(), evaluation(0.1)
    for figure in (
        figures.accuracy_by_task(Sides(before, after)),
        figures.accuracy_bars(Sides(before, after), dark=True),
        figures.interference_by_task(Sides(before, after)),
    ):
        assert trace(figure, look.BEFORE.name).marker.color == "#D55E00"
        assert trace(figure, look.AFTER.name).marker.color == "#0072B2"


def test_accuracy_bars_absolute_and_normalised():
    before, after = evaluation(), evaluation(0.1)
    absolute = figures.accuracy_bars(Sides(before, after))
    np.testing.assert_array_equal(trace(absolute, look.EXPERT.name).y, before["expert_accuracy"])
    normalised = figures.accuracy_bars(Sides(before, after), normalised=True)
    assert look.EXPERT.name not in [item.name for item in normalised.data]
    bars = trace(normalised, look.AFTER.name)
    np.testing.assert_allclose(bars.y, after["normalised_accuracy"])
    np.testing.assert_allclose(bars.error_y.array, 0.05 / after["expert_accuracy"])
    assert "expert" in normalised.layout.yaxis.title.text


def test_normalised_bars_leave_out_a_task_whose_expert_gets_nothing_right():
    before = evaluation()
    before.loc[0, "expert_accuracy"] = 0.0
    before.loc[0, "normalised_accuracy"] = np.nan
    bars = trace(figures.accuracy_bars(Sides(before), normalised=True), look.BEFORE.name)
    assert np.isnan(bars.y[0])
    assert np.isfinite(bars.y[1:]).all()
    assert "not defined" in bars.hovertext[0]


def test_interference_by_task():
    before, after = evaluation(), evaluation(0.1)
    figure = figures.interference_by_task(Sides(before, after))
    np.testing.assert_array_equal(trace(figure, look.AFTER.name).x, after["interference"])
    np.testing.assert_allclose(trace(figure, look.BEFORE.name).error_x.arrayminus, 0.1)
    assert "nats" in figure.layout.xaxis.title.text


@pytest.mark.parametrize("draw", [figures.accuracy_by_task, figures.accuracy_bars, figures.interference_by_task])
def test_without_an_ri_set_there_is_no_after(draw):
    figure = draw(Sides(evaluation()))
    assert look.AFTER.name not in [item.name for item in figure.data]
    assert figure.data


def test_headline_keeps_the_order_of_the_table():
    table = pd.DataFrame(
        {
            "model": ["zero_shot", "before", "expert", "before"],
            "measure": ["accuracy", "accuracy", "accuracy", "interference"],
            "value": [0.2, 0.4, 0.7, 0.5],
            "low": 0.1,
            "high": 0.9,
        }
    )
    figure = figures.headline(table)
    assert list(figure.data[0].y) == ["zero-shot", "merged before RI", "expert"]
    np.testing.assert_array_equal(figure.data[0].x, [0.2, 0.4, 0.7])
    np.testing.assert_array_equal(figure.data[1].x, [0.5])
    assert "40.0%" in figure.layout.yaxis.ticktext[1]


def test_loss_curves_keep_the_tasks_colours():
    history = pd.DataFrame(
        [("Letters", 1, 0.0, 0.5, 0.5), ("Letters", 2, 0.1, 0.3, 0.4), ("MNIST", 1, 0.0, 0.2, 0.2)],
        columns=["task", "step", "keep", "free", "loss"],
    )
    figure = figures.loss_curves(history, TASKS)
    colours = look.task_colours(TASKS)
    assert [item.name for item in figure.data] == ["MNIST"] * 3 + ["Letters"] * 3
    assert {item.line.color for item in figure.data if item.name == "Letters"} == {colours["Letters"]}
    np.testing.assert_array_equal(figure.data[4].y, [0.5, 0.3])
    assert figure.data[0].mode == "markers"  # a single point would be no line


def test_what_is_seen_on_held_out_images_is_drawn_over_paler_lines():
    history = pd.DataFrame(
        [(task, step, 0.0, 0.5, 0.5) for task in ("MNIST", "Letters") for step in (1, 2)],
        columns=["task", "step", "keep", "free", "loss"],
    )
    seen = pd.DataFrame([("MNIST", 0, 0.0, 0.7, 0.7, 0.6)], columns=[*history, "crosstalk"])
    figure, colours = figures.loss_curves(history, TASKS, held_out=seen), look.task_colours(TASKS)
    dots = [trace for trace in figure.data if "markers" in trace.mode and trace.name == "MNIST"]
    assert [list(trace.y) for trace in dots] == [[0.0], [0.7], [0.7]]
    assert {trace.line.color for trace in dots} == {colours["MNIST"]}
    assert "held-out images" in dots[0].hovertext[0]
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert {trace.line.color for trace in lines} == {look.faint(colours[task], 0.45) for task in ("MNIST", "Letters")}
    in_legend = [(trace.name, trace.mode) for trace in figure.data if trace.showlegend]
    assert in_legend == [("MNIST", "lines+markers"), ("Letters", "lines")]


@pytest.mark.parametrize("dark", [False, True])
def test_task_colours_are_distinct_and_stable_and_stand_out(dark: bool):
    twenty = look.task_colours([str(index) for index in range(20)], dark=dark)
    assert len(set(twenty.values())) == 20
    eight = look.task_colours([str(index) for index in range(8)], dark=dark)
    assert all(twenty[task] == colour for task, colour in eight.items())
    assert min(look.contrast(colour, look.shades(dark).background) for colour in twenty.values()) >= 3


def test_contrast_is_wcags():
    assert look.contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert look.contrast("#767676", "#FFFFFF") == pytest.approx(4.54, abs=0.01)  # its example of just enough for text


def test_coloured_parts_of_texts_are_the_light_themes_in_print():
    sides = Sides(evaluation(), evaluation(0.1))
    change = pd.DataFrame({"task": TASKS, "change": 0.1, "change_low": 0.05, "change_high": 0.2, "n": 9})
    light, dark = (figures.accuracy_by_task(sides, change, dark=dark) for dark in (False, True))
    assert look.LIGHT.text in light.layout.yaxis.ticktext[0]
    assert look.DARK.text in dark.layout.yaxis.ticktext[0]
    assert look.in_light(dark).layout.yaxis.ticktext == light.layout.yaxis.ticktext


def test_a_tasks_colour_is_the_light_themes_in_print():
    history = pd.DataFrame({"task": "Cyrillic", "step": [0, 1], "keep": 0.1, "free": 0.2, "loss": 0.3})
    tasks = [f"task {index}" for index in range(6)] + ["Cyrillic"]
    light, dark = (figures.loss_curves(history, tasks, dark=dark) for dark in (False, True))
    assert light.data[0].line.color != dark.data[0].line.color
    assert look.in_light(dark).data[0].line.color == light.data[0].line.color


def test_themes_differ_in_ground_and_text_only():
    light, dark = (figures.interference_by_task(Sides(evaluation()), dark=dark) for dark in (False, True))
    assert light.layout.template.layout.paper_bgcolor == "#FFFFFF"
    assert dark.layout.template.layout.paper_bgcolor == look.DARK.background
    assert light.data[0].marker.color == dark.data[0].marker.color


def test_words():
    assert words.points(-0.028) == "−2.8 points"
    assert words.points_range(-0.097, 0.028) == "−9.7 to +2.8"
    assert words.points_range(-0.0002, 0.0) == "+0.0 to +0.0"  # what rounds to nothing is not negative
    assert words.nats_change(-0.25) == "−0.250 nats"
    assert words.nats_change_range(-0.3, -0.2) == "−0.300 to −0.200"
    assert words.nats(12.3456) == "12.3 nats"
    assert words.count(1, "image") == "1 image"
    assert words.count(2048, "image") == "2,048 images"
    assert [words.duration(seconds) for seconds in (0.2, 75, 600, 7200)] == ["1 s", "75 s", "10 min", "2.0 h"]


def test_a_map_for_print_greys_what_is_not_selected_and_keeps_one_unit_both_ways():
    panels = [
        {"title": title, "x": [0.0, 1.0, 4.0], "y": [0.0, 2.0, 1.0], "colour": [0, 1, 1]} for title in ("own", "merged")
    ]
    items = [{"label": "A", "colour": "#E69F00"}, {"label": "B", "colour": "#56B4E9"}]
    data = {
        "ids": ["a", "b", "c"],
        "panels": panels,
        "palette": ["#E69F00", "#56B4E9"],
        "legend": {"items": items},
        "extent": [0.0, 4.0, 0.0, 2.0],
    }
    whole = figures.clouds(data)
    assert [list(trace.marker.color) for trace in whole.data[:2]] == [["#E69F00", "#56B4E9", "#56B4E9"]] * 2
    assert [trace.name for trace in whole.data[2:]] == ["A", "B"]
    assert [note.text for note in whole.layout.annotations] == ["own", "merged"]
    assert whole.layout.yaxis2.scaleanchor == "x2"
    assert whole.layout.xaxis.range[1] - whole.layout.xaxis.range[0] == pytest.approx(4 * 1.08)
    chosen = figures.clouds(data, ["b"])
    rest, selected = chosen.data[:2]
    assert (list(rest.x), rest.marker.color) == ([0.0, 4.0], look.UNSELECTED[False])
    assert (list(selected.x), list(selected.marker.color)) == ([1.0], ["#56B4E9"])
    scaled = figures.clouds(data | {"legend": {"gradient": ["#000000", "#FFFFFF"], "low": "0", "high": "1, drift"}})
    assert list(scaled.data[-1].marker.colorbar.ticktext) == ["0", "1<br>drift"]
    assert not paper.rastered(paper.for_paper(scaled, 5.5))
