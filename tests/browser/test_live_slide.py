"""Sliding without the server: what the page computes is what the server's surrogate says, and what it paints."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib import resources
from itertools import islice

import numpy as np
import pytest
import torch
from browsing import Visit
from playwright.sync_api import Browser, Page, expect
from tiny import TASKS

from ri_analysis.encoder import Head
from ri_analysis.engine import Evaluation
from ri_analysis.engine.comparison import Comparison
from ri_analysis.live.sample import Sample
from ri_analysis.live.surrogate import Grid, Surrogate
from ri_analysis.views.live.line import Direction, Line, Plane, SliderPath
from ri_analysis.views.live.payload import rows
from ri_analysis.views.live.session import View

pytestmark = pytest.mark.long  # one server and one Chromium for all of the file

CLASSES = {"A": 3, "B": 7}
SEEN, ALL = 12, 60
ROWS = "(sent) => { window.path = new SlidePath(sent); }"
AT = "(values) => { const at = path.position(values); return at === null ? null : path.rows(at); }"


def unit(features: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(features, dim=-1)


def sample_of() -> tuple[Sample, torch.Generator, np.random.Generator]:
    generator, rng = torch.Generator().manual_seed(1), np.random.default_rng(1)
    heads = {
        task: Head(10 * unit(torch.randn(count, 8, generator=generator)), tuple(map(str, range(count))))
        for task, count in CLASSES.items()
    }
    chosen = {task: np.sort(rng.permutation(ALL)[:SEEN]) for task in CLASSES}
    labels = {task: rng.integers(0, count, SEEN) for task, count in CLASSES.items()}
    expert = {task: 5 * torch.randn(SEEN, count, generator=generator) for task, count in CLASSES.items()}
    sample = Sample(chosen, dict.fromkeys(CLASSES, ALL), labels, heads, expert)
    return sample, generator, rng


def line_of(direction: Direction, grid: Grid, *, known: bool) -> tuple[Line, Comparison]:
    """A line of two models whose features turn smoothly with every axis, and what was measured last."""
    sample, generator, rng = sample_of()
    line = Line(direction, SEEN, 2)
    for _ in range(2):
        starts, *ways = (features(generator) for _ in range(1 + len(grid.low)))
        points, checks = (
            {place: turned(starts, list(zip(ways, place, strict=True))) for place in places}
            for places in (grid.levels[-1], [place for some in grid.checks for place in some])
        )
        line._surrogates.append(Surrogate(sample, grid, points, checks))
    return line, last_of(rng, known=known)


PATH = SliderPath((), "c.A", -1.0, 2.0, (("c.B", 0.5),))
PLANE = Plane((), ("c.A", "c.B"))


def path_of(side: int, *, known: bool) -> tuple[Line, Comparison]:
    return line_of(PATH, Grid((-1.0,), (2.0,), (3, side)), known=known)


def plane_of(*, refined: bool) -> tuple[Line, Comparison]:
    return line_of(PLANE, PLANE.grid(live=refined), known=True)


def features(generator: torch.Generator) -> dict[str, torch.Tensor]:
    return {task: torch.randn(SEEN, 8, generator=generator) for task in CLASSES}


def turned(
    starts: dict[str, torch.Tensor], ways: list[tuple[dict[str, torch.Tensor], float]]
) -> dict[str, torch.Tensor]:
    return {task: unit(starts[task] + sum(torch.sin(way[task] * place) for way, place in ways)) for task in CLASSES}


def last_of(rng: np.random.Generator, *, known: bool) -> Comparison:
    flags = [{task: rng.random(ALL if known else SEEN) < 0.6 for task in CLASSES} for _ in range(6)]
    nats = [{task: rng.gamma(1.0, 0.5, len(flags[0][task])).astype(np.float32) for task in CLASSES} for _ in range(2)]
    return Comparison(*[Evaluation("made", {}, *flags[3 * model : 3 * model + 3], nats[model]) for model in range(2)])


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("count", [3, 9])
def test_the_page_computes_what_the_surrogate_says(browser: Browser, count: int, known: bool):
    page = blank(browser)
    line, last = path_of(count, known=known)
    sent = line.sent(("", 0, 0, 0), last, 1, {"c.A": 0.0, "c.B": 0.5, "other": 0.3})
    page.evaluate(ROWS, sent)
    for place in (-1.0, -0.73, 0.0, 0.41, 1.5, 1.999):
        same_as_the_surrogate(page, line, last, (place,), {"c.A": place, "c.B": place + 0.5, "other": 0.3})


@pytest.mark.parametrize("refined", [False, True])
def test_the_page_computes_what_the_plane_says(browser: Browser, refined: bool):
    page = blank(browser)
    line, last = plane_of(refined=refined)
    page.evaluate(ROWS, line.sent(("", 0, 0, 0), last, 1, {"c.A": 1.0, "c.B": 1.0, "other": 0.3}))
    for place in ((-1.0, 2.0), (0.5, 0.5), (-0.73, 0.41), (1.3, 1.95)):
        same_as_the_surrogate(page, line, last, place, {"c.A": place[0], "c.B": place[1], "other": 0.3})
    for other in ({"c.A": 2.1, "c.B": 0}, {"c.A": 0, "c.B": 0, "other": 0.4}):  # beyond the edge, another recipe
        assert page.evaluate(AT, {"other": 0.3} | other) is None


def test_a_hand_at_the_very_end_is_on_the_path(browser: Browser):
    page = blank(browser)
    low, high = 0.003, 0.7  # whose logarithms are rounded
    direction = SliderPath((), "x.rate", math.log(low), math.log(high), (), True)
    line, last = line_of(direction, direction.grid(live=True), known=True)
    page.evaluate(ROWS, line.sent(("", 0, 0, 0), last, 1, {"x.rate": 0.1}))
    for value in (low, 0.1, high):
        assert page.evaluate(AT, {"x.rate": value}) is not None
    for value in (0.99 * low, 1.01 * high):
        assert page.evaluate(AT, {"x.rate": value}) is None


def test_a_refined_plane_follows_the_first(browser: Browser):
    page = blank(browser)
    line, last = plane_of(refined=True)
    whole, base = line._surrogates, {"c.A": 1.0, "c.B": 1.0}
    line._surrogates = [few_of(each, 11) for each in whole]
    page.evaluate(ROWS, line.sent(("", 0, 0, 0), last, 1, base))
    assert page.evaluate("path.nodes.length") == 9  # the two more are no whole grid
    line._surrogates = whole
    page.evaluate("(sent) => path.take(sent)", line.sent(tuple(page.evaluate("path.have()")), last, 1, base))
    same_as_the_surrogate(page, line, last, (0.2, 1.4), {"c.A": 0.2, "c.B": 1.4})


def few_of(surrogate: Surrogate, count: int) -> Surrogate:
    return replace(surrogate, points=dict(islice(surrogate.points.items(), count)))


def same_as_the_surrogate(
    page: Page, line: Line, last: Comparison, place: tuple[float, ...], values: dict[str, float]
) -> None:
    found = page.evaluate(AT, values)
    estimates, says = line.estimates(place, last)
    assert page.evaluate("path.says") == says
    wanted = rows(View(pair=None, estimates=estimates), None)
    assert found.keys() == wanted.keys()
    for name, row in wanted.items():
        for measure, bars in row.items():
            assert found[name][measure] == [pytest.approx(bar, abs=2e-5) for bar in bars], (place, name, measure)


def test_points_come_one_by_one_and_a_path_is_left_where_another_slider_stands_elsewhere(browser: Browser):
    page = blank(browser)
    line, last = path_of(5, known=True)
    whole, base = line._surrogates, {"c.A": 0.0, "c.B": 0.5, "other": 0.3}
    line._surrogates = [few_of(each, 4) for each in whole]
    page.evaluate(ROWS, line.sent(("", 0, 0, 0), last, 1, base))
    line._surrogates = whole
    rest = line.sent(tuple(page.evaluate("path.have()")), last, 1, base)
    assert (rest["first"], len(rest["nodes"][0]), rest["constants"]) == (3, 2, None)  # the fourth makes no level
    page.evaluate("(sent) => path.take(sent)", rest)
    assert line.sent(tuple(page.evaluate("path.have()")), last, 1, base) is None
    values = {"c.A": 0.2, "c.B": 0.7, "other": 0.3}
    step_by_step = page.evaluate(AT, values)
    page.evaluate(ROWS, line.sent(("", 0, 0, 0), last, 1, base))
    assert page.evaluate(AT, values) == step_by_step
    for other in (
        {"other": 0.4},
        {"c.B": 0.5},
        {"c.A": 2.5, "c.B": 3.0},
    ):  # another recipe, not linked, beyond the ends
        assert page.evaluate(AT, values | other) is None


def test_a_hand_slides_without_the_server_and_the_exact_values_follow(visit: Visit):
    page = visit("merge")
    root = page.locator(".ri-live")
    page.locator(".ri-live[data-kind=exact]").wait_for()
    expect(page.locator(".ri-live-status")).not_to_contain_text("Getting the live preview ready")
    slider = page.get_by_role("slider", name="coefficient of Reds")
    over(page, slider, 0.6)
    page.locator(".ri-live[data-path]:not([data-path='0'])").wait_for()
    page.mouse.down()
    over(page, slider, 0.7)
    page.locator(".ri-live[data-slid]").wait_for()
    quiet = root.get_attribute("data-sent")
    for share in (0.75, 0.8, 0.85, 0.8):
        over(page, slider, share)
    assert (root.get_attribute("data-kind"), root.get_attribute("data-sent")) == ("surrogate", quiet)
    expect(page.locator(".ri-live-status")).to_contain_text("interpolated between")
    page.mouse.up()
    page.locator(".ri-live[data-kind=exact]").wait_for()
    expect(page.locator(".ri-live-status")).to_contain_text("Exact: all")


def test_a_hand_moves_two_coefficients_on_the_pad(visit: Visit):
    page = visit("merge")
    root = page.locator(".ri-live")
    page.locator(".ri-live[data-kind=exact]").wait_for()
    expect(page.locator(".ri-live-status")).not_to_contain_text("Getting the live preview ready")
    page.get_by_role("button", name="Pad").click()
    square = page.locator(".ri-live-pad .square").first
    across(page, square, 0.5, 0.5)
    page.locator(".ri-live[data-path]:not([data-path='0'])").wait_for()
    page.mouse.down()
    across(page, square, 0.6, 0.4)
    page.locator(".ri-live[data-slid]").wait_for()
    quiet = root.get_attribute("data-sent")
    across(page, square, 0.7, 0.2)
    assert (root.get_attribute("data-kind"), root.get_attribute("data-sent")) == ("surrogate", quiet)
    page.mouse.up()
    page.locator(".ri-live[data-kind=exact]").wait_for()
    first, second = list(TASKS)[:2]
    shown = [page.get_by_role("slider", name=f"coefficient of {task}") for task in (first, second)]
    assert [float(slider.input_value()) for slider in shown] == [pytest.approx(1.1), pytest.approx(1.4)]  # of −1 to 2
    page.get_by_role("slider", name="two coefficients").first.press("Shift+ArrowLeft")
    expect(shown[0]).to_have_value("0.85")
    expect(page.locator(".ri-live-pad .scale")).to_contain_text("Mean accuracy, estimated")
    opacity = "(canvas) => canvas.getContext('2d').getImageData(9, 9, 1, 1).data[3]"
    canvas = page.locator(".ri-live-pad canvas").first
    assert canvas.evaluate(opacity) == 255
    page.get_by_label("coefficient moved across").select_option(second)  # the two change places
    expect(page.locator(".ri-live-pad .scale")).to_contain_text("Pause on a square")  # it was another plane's
    assert canvas.evaluate(opacity) == 0
    expect(page.get_by_label("coefficient moved up and down").locator("option:checked")).to_have_text(first)


def across(page: Page, square, x: float, y: float) -> None:  # type: ignore[no-untyped-def]
    square.scroll_into_view_if_needed()
    box = square.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
    page.wait_for_timeout(100)


def blank(browser: Browser) -> Page:
    """Return an empty page in which the component's mathematics stands."""
    page, source = browser.new_page(), resources.files("ri_analysis.views.live") / "slide.js"
    page.evaluate(f"() => {{ {source.read_text()}\nwindow.SlidePath = SlidePath; }}")
    return page


def over(page: Page, slider, share: float) -> None:  # type: ignore[no-untyped-def]
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)
    page.wait_for_timeout(100)
